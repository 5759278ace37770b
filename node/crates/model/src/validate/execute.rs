//! EXECUTE: what is started, under which name, with which arguments.

use super::{Write, quota};
use crate::{
    Body, Execution, Operation, Path, Refusal, Representation, ResourceType, StatusCode, Value,
    admit::Target, value::Struct,
};

const ARGUMENTS: &str = "execReqArgs";

impl Write<'_> {
    pub(super) fn execute(&self, body: Body, target: &Target) -> Result<Operation, Refusal> {
        let execution = match target {
            Target::Resource { path, resource_type: ResourceType::MgmtCmd }
            | Target::Attribute { path, resource_type: ResourceType::MgmtCmd, .. } => {
                self.command(path, arguments(body)?)?
            }
            Target::Attribute { path, resource_type, attribute, .. } => {
                if arguments(body)?.is_some() {
                    return Err(Refusal::attribute(ARGUMENTS, "only a mgmtCmd takes arguments"));
                }
                match resource_type {
                    ResourceType::ExecInstance => Execution::Cancel { path: path.clone() },
                    _ => Execution::Action { path: path.clone(), attribute },
                }
            }
            // `admit` lets no other target through.
            _ => return Err(Refusal::new(StatusCode::MethodNotAllowed, "nothing is executed here")),
        };
        Ok(Operation::Execute(execution))
    }

    fn command(&self, path: &Path, sent: Option<Struct>) -> Result<Execution, Refusal> {
        quota::resources(self.policy, self.stored.resources)?;
        let command = self.stored.representation.as_ref().ok_or_else(Refusal::not_found)?;
        let defaults = match command.get(ARGUMENTS) {
            Some(Value::Struct(defaults)) => Some(defaults),
            _ => None,
        };
        let path = path.child("execInstances").child(self.drawn_name());
        let mut representation = Representation::new(ResourceType::ExecInstance);
        if let Some(at) = self.expiration(None)? {
            representation.set("expirationTime", Value::Datetime(at));
        }
        if let Some(right) = command.text("accessRightID") {
            representation.set("accessRightID", Value::Text(right.to_owned()));
        }
        representation.set("execStatus", Value::Text("INITIATED".into()));
        let nothing = Struct { name: "ExecResultList", fields: Vec::new() };
        representation.set("execResult", Value::Struct(nothing));
        let cancel = self.scl.address(&path.child("execDisable"));
        representation.set("execDisable", Value::Text(cancel));
        if let Some(arguments) = overridden(defaults, sent) {
            representation.set(ARGUMENTS, Value::Struct(arguments));
        }
        quota::lists(self.policy, &representation)?;
        Ok(Execution::Command { path, representation })
    }
}

/// The arguments that the body carries.
fn arguments(body: Body) -> Result<Option<Struct>, Refusal> {
    match body {
        Body::None => Ok(None),
        Body::Attribute { name, value: Value::Struct(arguments) } if name == ARGUMENTS => Ok(Some(arguments)),
        Body::Malformed(refusal) => Err(refusal),
        _ => Err(Refusal::attribute(ARGUMENTS, "nothing or these were expected as the body")),
    }
}

/// The command's arguments, each replaced by one of the same name that was sent.
fn overridden(defaults: Option<&Struct>, sent: Option<Struct>) -> Option<Struct> {
    let Some(mut sent) = sent else { return defaults.cloned() };
    let named = |argument: &Value| match argument {
        Value::Struct(argument) => argument.get("name").cloned(),
        _ => None,
    };
    let names: Vec<_> = sent.fields.iter().map(|(_, argument)| named(argument)).collect();
    let kept = defaults.into_iter().flat_map(|defaults| &defaults.fields);
    let kept = kept.filter(|(_, argument)| !names.contains(&named(argument))).cloned();
    sent.fields = kept.chain(std::mem::take(&mut sent.fields)).collect();
    Some(sent)
}
