import os

wsgi_app = "serving.app:app"
bind = f"{os.environ['HOST']}:{os.environ['PORT']}"
workers = int(os.environ["WEB_CONCURRENCY"])
worker_class = "gthread"
threads = int(os.environ.get("THREADS", "4"))
control_socket_disable = True
errorlog = "-"
