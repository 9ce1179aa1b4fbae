"""Writes a list of what is in an image that names nothing, where BuildKit looks for it."""

import json
import os
from pathlib import Path

document = {"SPDXID": "SPDXRef-DOCUMENT", "spdxVersion": "SPDX-2.3", "name": "stand-in", "packages": []}
statement = {"_type": "https://in-toto.io/Statement/v0.1", "predicateType": "https://spdx.dev/Document"}
target = Path(os.environ["BUILDKIT_SCAN_DESTINATION"], "standin.spdx.json")
target.write_text(json.dumps(statement | {"predicate": document}))
