"""As much of JSON Schema 2020-12 as `wshealthd config schema` and the schemas of receivers use. A keyword that is not known here is an error, so that none is overlooked."""
import re

TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}
SILENT = {"description", "default", "title", "$schema", "$defs"}


def is_type(value, name):
    if name in ("integer", "number"):
        return isinstance(value, int if name == "integer" else (int, float)) and not isinstance(value, bool)
    return isinstance(value, TYPES[name])


def same(a, b):
    return a == b and isinstance(a, bool) == isinstance(b, bool)


def accepts(schema, value, root):
    """Does the schema accept the value?"""
    if schema is True or schema is False:
        return schema
    return all(keyword(name, wanted, schema, value, root) for name, wanted in schema.items() if name not in SILENT)


def keyword(name, wanted, schema, value, root):
    if name == "$ref":
        target = root
        for part in wanted.removeprefix("#/").split("/"):
            target = target[part]
        return accepts(target, value, root)
    if name == "type":
        return any(is_type(value, one) for one in (wanted if isinstance(wanted, list) else [wanted]))
    if name in ("anyOf", "oneOf"):
        fits = sum(accepts(one, value, root) for one in wanted)
        return fits == 1 if name == "oneOf" else fits > 0
    if name == "enum":
        return any(same(one, value) for one in wanted)
    if name == "const":
        return same(wanted, value)
    if name in ("minimum", "maximum"):
        return not is_type(value, "number") or (value >= wanted if name == "minimum" else value <= wanted)
    if name == "pattern":
        return not isinstance(value, str) or bool(re.search(wanted, value))
    if name in ("minLength", "maxLength"):
        return not isinstance(value, str) or (len(value) >= wanted if name == "minLength" else len(value) <= wanted)
    if name in ("minItems", "maxItems", "items"):
        return not isinstance(value, list) or array_keyword(name, wanted, value, root)
    return not isinstance(value, dict) or object_keyword(name, wanted, schema, value, root)


def array_keyword(name, wanted, value, root):
    if name == "items":
        return all(accepts(wanted, one, root) for one in value)
    return len(value) >= wanted if name == "minItems" else len(value) <= wanted


def object_keyword(name, wanted, schema, value, root):
    if name == "required":
        return all(key in value for key in wanted)
    if name == "properties":
        return all(accepts(wanted[key], one, root) for key, one in value.items() if key in wanted)
    if name == "additionalProperties":
        return all(accepts(wanted, one, root) for key, one in value.items() if key not in schema.get("properties", {}))
    if name == "propertyNames":
        return all(accepts(wanted, key, root) for key in value)
    if name in ("minProperties", "maxProperties"):
        return len(value) >= wanted if name == "minProperties" else len(value) <= wanted
    raise ValueError(f"keyword {name} is not known")
