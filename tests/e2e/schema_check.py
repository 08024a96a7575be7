"""Documents obey their schemas: schema_check.py SCHEMA.json DOCUMENT.json… (or .jsonl, one a line). The keywords of JSON Schema
(draft 2020-12) that docs/schemas/ uses, and no others: one that is not known here is a fault."""
import json
import re
import sys

KNOWN = {"$schema", "title", "description", "$defs", "$ref", "type", "properties", "required", "additionalProperties",
         "items", "enum", "const", "minimum", "pattern", "minItems", "maxItems", "oneOf"}
TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}


def is_type(value, name):
    if name == "integer":
        return not isinstance(value, bool) and (isinstance(value, int) or isinstance(value, float) and value == int(value))
    if name == "number":
        return not isinstance(value, bool) and isinstance(value, (int, float))
    return isinstance(value, TYPES[name])


def faults(value, schema, root, at):
    """Where and how value does not obey."""
    assert not set(schema) - KNOWN, f"{set(schema) - KNOWN} is not known"
    if "$ref" in schema:
        yield from faults(value, root["$defs"][schema["$ref"].removeprefix("#/$defs/")], root, at)
    fitting = sum(not any(faults(value, other, root, at)) for other in schema.get("oneOf", []))
    if "oneOf" in schema and fitting != 1:
        yield f"{at}: {json.dumps(value)[:200]} is {fitting} of the alternatives"
    names = schema.get("type", [])
    names = [names] if isinstance(names, str) else names
    if names and not any(is_type(value, name) for name in names):
        yield f"{at}: {json.dumps(value)[:60]} is not {' or '.join(names)}"
        return
    if "enum" in schema and value not in schema["enum"] or "const" in schema and value != schema["const"]:
        yield f"{at}: {json.dumps(value)[:60]} is not among the values"
    if isinstance(value, (int, float)) and value < schema.get("minimum", value):
        yield f"{at}: {value} is too small"
    if isinstance(value, str) and not re.search(schema.get("pattern", ""), value):
        yield f"{at}: {value[:60]!r} has another form"
    if isinstance(value, list):
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
            yield f"{at}: {len(value)} items"
        for i, item in enumerate(value):
            yield from faults(item, schema.get("items", {}), root, f"{at}[{i}]")
    if isinstance(value, dict):
        yield from (f"{at}: '{key}' is missing" for key in schema.get("required", []) if key not in value)
        for key, item in value.items():
            other = schema.get("additionalProperties", {})
            inner = schema.get("properties", {}).get(key, other)
            if inner is False:
                yield f"{at}: '{key}' is not in the schema"
            else:
                yield from faults(item, inner if inner is not True else {}, root, f"{at}.{key}")


def closed(schema, at):
    """Every object that the schemas describe says what else may stand in it."""
    if isinstance(schema, dict):
        if "properties" in schema and at.rsplit(".", 1)[-1] != "properties":
            assert schema.get("additionalProperties") is not None, f"{at} is open"
            assert set(schema.get("required", [])) <= set(schema["properties"]), f"{at} requires what it lacks"
        for key, item in schema.items():
            closed(item, f"{at}.{key}")


def documents(path):
    """The document of a file; of one that ends with .jsonl, those of its lines."""
    with open(path, encoding="utf-8") as file:
        if not path.endswith(".jsonl"):
            return [json.load(file)]
        return [json.loads(line) for line in file]


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        schema = json.load(file)
    closed(schema, "schema")
    found = []
    for path in sys.argv[2:]:
        for i, document in enumerate(documents(path)):
            found += faults(document, schema, schema, f"{path}[{i}]" if path.endswith("l") else path)
    for line in found[:20]:
        print(line)
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
