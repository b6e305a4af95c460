//! The OpenAPI document, made from the entries of the endpoints and the types that they name.

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::Problem;
use crate::endpoint::{Answer, Endpoint};
use crate::problem::MEDIA_TYPE;

/// What there is, as OpenAPI 3.1.
pub fn document(endpoints: &[Endpoint], version: &str) -> Value {
    let mut generator = SchemaSettings::draft2020_12()
        .with(|settings| {
            settings.definitions_path = "/components/schemas".into();
            settings.meta_schema = None;
        })
        .into_generator();
    let problem = generator.subschema_for::<Problem>();
    let mut paths: Map<String, Value> = Map::new();
    for endpoint in endpoints {
        let operation = operation(endpoint, &mut generator);
        let path = paths.entry(endpoint.path).or_insert_with(|| json!({}));
        path[endpoint.method] = operation;
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Backstay",
            "summary": "Jobs, runs and backups of a Backstay host",
            "version": version,
            "license": { "name": "Apache-2.0 OR MIT", "identifier": "Apache-2.0 OR MIT" },
        },
        "servers": [{ "url": "/" }],
        "security": [{ "token": [] }, { "session": [] }],
        "paths": paths,
        "components": {
            "schemas": generator.take_definitions(true),
            "responses": {
                "Problem": {
                    "description": "It was not done, and why",
                    "content": { MEDIA_TYPE: { "schema": problem } },
                },
            },
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A token of `backstay token add`. None is needed on the socket in the data directory.",
                },
                "session": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": "backstay",
                    "description": "For browsers: what `POST /api/v1/session` set; by an encrypted connection it is \
                        `__Host-backstay`. All but GET takes an `Origin` of this host, and the header `X-CSRF-Token` with the \
                        `csrf` of `GET /api/v1/session`.",
                },
            },
        },
    })
}

fn operation(endpoint: &Endpoint, generator: &mut SchemaGenerator) -> Value {
    let mut responses: Map<String, Value> = endpoint
        .answers
        .iter()
        .map(|answer| (answer.status.as_u16().to_string(), response(answer, generator)))
        .collect();
    responses.insert(
        "default".to_owned(),
        json!({ "$ref": "#/components/responses/Problem" }),
    );
    let role = match endpoint.role {
        Some(role) => format!("Role: {}.", role.name()),
        None => "Needs no token.".to_owned(),
    };
    let mut operation = json!({
        "operationId": endpoint.name,
        "summary": endpoint.summary,
        "description": role,
        "parameters": parameters(endpoint),
        "responses": responses,
    });
    if endpoint.role.is_none() {
        operation["security"] = json!([]);
    }
    if let Some(make) = endpoint.body {
        operation["requestBody"] = json!({
            "required": true,
            "content": { "application/json": { "schema": make(generator) } },
        });
    }
    operation
}

fn response(answer: &Answer, generator: &mut SchemaGenerator) -> Value {
    let mut response = json!({ "description": answer.summary });
    if let Some(make) = answer.schema {
        response["content"] = json!({ answer.media_type: { "schema": make(generator) } });
    }
    if let Some((name, summary)) = answer.header {
        response["headers"] = json!({
            name: { "description": summary, "schema": { "type": "string" } },
        });
    }
    response
}

fn parameters(endpoint: &Endpoint) -> Vec<Value> {
    let mut all = Vec::new();
    if let Some((schema, summary)) = &endpoint.place {
        all.push(json!({
            "name": "id", "in": "path", "required": true, "description": summary, "schema": schema,
        }));
    }
    // Each field becomes a parameter, so that nothing may refer to a definition elsewhere.
    let mut generator = SchemaSettings::draft2020_12()
        .with(|settings| settings.inline_subschemas = true)
        .into_generator();
    let fields = (endpoint.query)(&mut generator).to_value();
    let required = fields["required"].as_array().cloned().unwrap_or_default();
    for (name, schema) in fields["properties"].as_object().into_iter().flatten() {
        let mut schema = schema.clone();
        let description = schema
            .as_object_mut()
            .and_then(|schema| schema.remove("description"));
        all.push(json!({
            "name": name,
            "in": "query",
            "required": required.contains(&json!(name)),
            "description": description,
            "schema": without_null(schema),
        }));
    }
    for header in &endpoint.headers {
        all.push(json!({
            "name": header.name,
            "in": "header",
            "required": header.is_required,
            "description": header.summary,
            "schema": header.schema,
        }));
    }
    all
}

/// A parameter that is left out is absent, not null.
fn without_null(mut schema: Value) -> Value {
    if let Some(kinds) = schema["type"].as_array() {
        let kinds: Vec<&Value> = kinds.iter().filter(|kind| *kind != "null").collect();
        if let [only] = kinds[..] {
            schema["type"] = only.clone();
        }
    }
    if let Some(object) = schema.as_object_mut()
        && object.get("default") == Some(&Value::Null)
    {
        object.remove("default");
    }
    schema
}
