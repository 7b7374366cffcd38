"""names.py: prints the names that python-cqrs exports."""

import json

import cqrs

for name in cqrs.__all__:
    print(json.dumps(name))
