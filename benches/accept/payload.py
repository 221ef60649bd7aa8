"""Makes a push of about SIZE bytes from an example: python3 payload.py FILE SIZE > push.json"""

import copy
import json
import sys

with open(sys.argv[1], encoding="utf-8") as file:
    push = json.load(file)
size = int(sys.argv[2])
commit = push["commits"][0]
while len(json.dumps(push)) < size:
    another = copy.deepcopy(commit)
    another["id"] = f"{len(push['commits']):040x}"
    push["commits"].append(another)
json.dump(push, sys.stdout)
