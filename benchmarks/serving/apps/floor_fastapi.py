"""FastAPI that reads the JSON and answers a constant."""

from fastapi import FastAPI, Request, Response

from benchmarks.serving.apps.floors import BODY

app = FastAPI()


@app.post("/predict")
async def predict(request: Request) -> Response:
    await request.json()
    return Response(BODY, media_type="application/json")
