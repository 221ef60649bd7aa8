"""Holds the files of deploy/ to what reads them: Kubernetes' types, the Compose specification, and the APIs behind Terraform's resources.

check.py DEPLOY PACKAGES prints one fault a line and ends with 1 if there is any.
"""

import ast
import json
import pathlib
import re
import sys

deploy, packages = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
sys.path.insert(0, str(packages))

import hcl2  # noqa: E402
import jsonschema_rs  # noqa: E402
import yaml  # noqa: E402

faults = []


def fault(place, message):
    faults.append(f"{place}: {message}")


# Kubernetes: each object against the model that the API's own description was made into.

MODELS = packages / "kubernetes/client/models"


def model(name):
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
    path = MODELS / f"{snake}.py"
    if not path.exists():
        return None
    text = path.read_text()
    table = lambda word: ast.literal_eval(re.search(rf"{word}(?:: [^=]+)? = (\{{.*?\n\s*\}})", text, re.S).group(1))
    required = re.findall(r"^    (\w+): (?!ClassVar|Optional)[^=\n]+ = Field\(", text, re.M)
    return table("openapi_types"), table("attribute_map"), required


def kubernetes(place, value, kind):
    if kind in ("str", "datetime"):
        if not isinstance(value, str):
            fault(place, f"must be text, not {value!r}")
    elif kind in ("int", "float"):
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            fault(place, f"must be a number, not {value!r}")
    elif kind == "bool":
        if not isinstance(value, bool):
            fault(place, f"must be true or false, not {value!r}")
    elif kind.startswith("List["):
        if not isinstance(value, list):
            return fault(place, "must be a list")
        for index, item in enumerate(value):
            kubernetes(f"{place}[{index}]", item, kind[5:-1])
    elif kind.startswith("Dict["):
        inner = kind[5:-1].split(", ", 1)[1]
        for key, item in value.items():
            kubernetes(f"{place}.{key}", item, inner)
    elif kind != "object":
        known = model(kind)
        if known is None:
            return fault(place, f"there is no {kind}")
        if not isinstance(value, dict):
            return fault(place, f"must be a mapping, a {kind}")
        types, names, required = known
        words = {word: field for field, word in names.items()}
        for key, item in value.items():
            if key not in words:
                fault(place, f"{kind} has no `{key}`")
            else:
                kubernetes(f"{place}.{key}", item, types[words[key]])
        for field in required:
            if names[field] not in value:
                fault(place, f"{kind} needs `{names[field]}`")


objects = {}
for path in sorted((deploy / "kubernetes").glob("*.yaml")):
    for document in yaml.safe_load_all(path.read_text()):
        if "kind" not in document or document["kind"] == "Kustomization":
            continue
        version = document["apiVersion"].rsplit("/", 1)[-1].capitalize()
        kubernetes(path.name, document, version + document["kind"])
        objects[document["kind"]] = document

kustomization = yaml.safe_load((deploy / "kubernetes/kustomization.yaml").read_text())
written = list(kustomization["resources"]) + [name for made in kustomization["configMapGenerator"] for name in made["files"]]
for name in written:
    if not (deploy / "kubernetes" / name).exists():
        fault("kustomization.yaml", f"{name} is not there")

try:
    stateful, service = objects["StatefulSet"]["spec"], objects["Service"]
    pod, labels = stateful["template"]["spec"], stateful["template"]["metadata"]["labels"]
    (container,) = pod["containers"]
    secure = {**pod["securityContext"], **container["securityContext"]}
    for key, value in {"runAsNonRoot": True, "readOnlyRootFilesystem": True, "allowPrivilegeEscalation": False}.items():
        if secure.get(key) is not value:
            fault("statefulset.yaml", f"`{key}` must be {value}")
    if container["securityContext"].get("capabilities") != {"drop": ["ALL"]}:
        fault("statefulset.yaml", "every capability is dropped")
    for name, selector in (("StatefulSet", stateful["selector"]["matchLabels"]), ("Service", service["spec"]["selector"])):
        if not selector.items() <= labels.items():
            fault(name, "its selector finds none of its pods")
    there = {volume["name"] for volume in pod["volumes"] + [claim["metadata"] for claim in stateful["volumeClaimTemplates"]]}
    for mount in container["volumeMounts"]:
        if mount["name"] not in there:
            fault("statefulset.yaml", f"no volume is called `{mount['name']}`")
    ports = {port["name"] for port in container["ports"]}
    for port in service["spec"]["ports"]:
        if port["targetPort"] not in ports:
            fault("service.yaml", f"no port is called `{port['targetPort']}`")
except (KeyError, ValueError) as missing:
    fault("kubernetes", f"{missing} is missing")

# Compose: the specification's own schema.

schema = json.loads((packages / "compose/config/compose_spec.json").read_text())
compose = yaml.safe_load((deploy / "compose/compose.yaml").read_text())
for error in jsonschema_rs.validator_for(schema).iter_errors(compose):
    fault("compose.yaml", f"{'.'.join(map(str, error.instance_path))}: {error.message}")

# Terraform: names that are used are declared, and what a resource sets is a field of the API's own resource.

DOCUMENTS = packages / "googleapiclient/discovery_cache/documents"
APIS = {
    "google_cloud_run_v2_service": ("run.v2", "GoogleCloudRunV2Service"),
    "google_cloud_tasks_queue": ("cloudtasks.v2", "Queue"),
    "google_pubsub_subscription": ("pubsub.v1", "Subscription"),
    "google_pubsub_topic": ("pubsub.v1", "Topic"),
    "google_secret_manager_secret": ("secretmanager.v1", "Secret"),
    "google_sql_database": ("sqladmin.v1", "Database"),
    "google_sql_database_instance": ("sqladmin.v1", "DatabaseInstance"),
    "google_service_account": ("iam.v1", "ServiceAccount"),
}
# What Terraform itself takes, or calls otherwise than the API does.
OWN = {"for_each", "count", "depends_on", "provider", "lifecycle", "location", "project", "deletion_protection"}
OTHERWISE = {("Secret", "secret_id"): None, ("ServiceAccount", "account_id"): None, ("Replication", "auto"): "automatic"}
WITHOUT_API = re.compile(r"_iam_member$|^google_project_service$|^google_secret_manager_secret_version$")


def camel(word):
    first, *rest = word.split("_")
    return first + "".join(part.capitalize() for part in rest)


def resource(place, values, schemas, kind):
    properties = schemas[kind].get("properties", {})
    for word, value in values.items():
        if word.startswith("__") or (word in OWN and camel(word) not in properties):
            continue
        if word == "dynamic":
            for block in value:
                ((name, inner),) = block.items()
                resource(place, {name.strip('"'): inner["content"]}, schemas, kind)
            continue
        name = OTHERWISE.get((kind, word), camel(word))
        if name is None:
            continue
        if name not in properties:
            fault(place, f"{kind} has no `{word}`")
            continue
        field = properties[name]
        inner = field.get("$ref") or field.get("items", {}).get("$ref")
        if inner and isinstance(value, (list, dict)):
            for block in value if isinstance(value, list) else [value]:
                if isinstance(block, dict):
                    resource(f"{place}.{word}", block, schemas, inner)


terraform = {path.name: hcl2.loads(path.read_text()) for path in sorted((deploy / "terraform").glob("*.tf"))}
declared, variables = {}, set()
for parsed in terraform.values():
    for block in parsed.get("resource", []):
        for kind, named in block.items():
            for name, values in named.items():
                declared[f"{kind}.{name}".replace('"', "")] = values
    variables |= {name.strip('"') for block in parsed.get("variable", []) for name in block}
for name, values in declared.items():
    kind = name.split(".")[0]
    if kind in APIS:
        document, root = APIS[kind]
        resource(name, values, json.loads((DOCUMENTS / f"{document}.json").read_text())["schemas"], root)
    elif not WITHOUT_API.search(kind):
        fault(name, "is held to nothing: add its API to this script")
text = "\n".join(path.read_text() for path in sorted((deploy / "terraform").glob("*.tf")))
code = "\n".join(line.split("#")[0] for line in text.splitlines())
for name in sorted(set(re.findall(r"\bgoogle_\w+\.\w+", code))):
    if name not in declared:
        fault("terraform", f"`{name}` is not declared")
used = set(re.findall(r"\bvar\.(\w+)", code))
for name in sorted(used ^ variables):
    fault("terraform", f"the variable `{name}` is {'not declared' if name in used else 'declared and not used'}")
for role in re.findall(r'role\s*=\s*"([^"]*)"', code):
    if role in ("roles/owner", "roles/editor", "roles/viewer") or role.endswith((".admin", "Admin")):
        fault("terraform", f"`{role}` is more than is needed")

print("\n".join(faults))
sys.exit(1 if faults else 0)
