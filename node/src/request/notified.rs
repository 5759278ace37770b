//! Notifies that are sent to a container, read before they are stored (procedures.md 8.6).
//!
//! A notify carries its representation as a document. Where that shows instances they are stored as instances, so the
//! node that writes them puts what the document says in its place. Whatever cannot be read is no fault: it is stored as
//! it came.

use banyan_codec::{Expect, Format, Limits, decode};
use banyan_model::{
    Body, Method, RequestPrimitive, ResourceType, Value, validate::carries_instances, value::Struct,
};

/// Puts instances in the place of the documents that show them, if this is a notify to contentInstances.
pub(super) fn open(request: &mut RequestPrimitive) {
    let notifies = matches!(request.method, Method::Notify | Method::Create)
        && request.target.name() == Some(ResourceType::ContentInstances.name());
    let Body::Message(message) = &mut request.body else { return };
    match message.name {
        "Notify" if notifies => open_one(message),
        "NotifyCollection" if notifies => {
            for (_, value) in &mut message.fields {
                if let Value::Struct(notify) = value {
                    open_one(notify);
                }
            }
        }
        _ => {}
    }
}

fn open_one(notify: &mut Struct) {
    let Some((_, value)) = notify.fields.iter_mut().find(|(name, _)| *name == "representation") else {
        return;
    };
    let Value::Binary { content_type: Some(content_type), bytes } = &*value else { return };
    let Some(format) = Format::from_media_type(content_type) else { return };
    match decode(format, bytes, &Limits::default(), Expect::Any) {
        Body::Representation(carried) if carries_instances(&carried) => {
            *value = Value::Resource(Box::new(carried));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use banyan_codec::encode_representation;
    use banyan_model::{
        Entity, Path, Representation,
        value::{Content, ContentForm},
    };
    use bytes::Bytes;

    fn instance() -> Representation {
        let mut instance = Representation::new(ResourceType::ContentInstance);
        instance.set("id", Value::Text("a".to_owned()));
        let content = Content {
            content_type: Some("text/plain".to_owned()),
            bytes: Bytes::from_static(b"1"),
            form: ContentForm::Text,
        };
        instance.set("content", Value::Content(content));
        instance
    }

    fn notify(content_type: &str, bytes: Bytes) -> Struct {
        let carried = Value::Binary { content_type: Some(content_type.to_owned()), bytes };
        Struct { name: "Notify", fields: vec![("representation", carried)] }
    }

    fn opened(target: &str, message: Struct) -> Struct {
        let (target, entity) = (Path::parse(target).unwrap(), Entity("/m2m".to_owned()));
        let body = Body::Message(message);
        let mut request = RequestPrimitive { body, ..RequestPrimitive::new(Method::Notify, target, entity) };
        open(&mut request);
        match request.body {
            Body::Message(message) => message,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_document_of_instances_is_read_and_any_other_stays() {
        let (to, elsewhere) =
            ("/containers/c/contentInstances", "/applications/a/notificationChannels/n/contact");
        for format in [Format::Xml, Format::Json] {
            let document = encode_representation(format, &instance());
            let sent = notify(format.media_type(), document);
            let read = opened(to, sent.clone());
            assert_eq!(read.get("representation"), Some(&Value::Resource(Box::new(instance()))));
            assert_eq!(opened(elsewhere, sent.clone()), sent);

            let several = [sent.clone(), sent].map(|notify| ("notify", Value::Struct(notify))).to_vec();
            let several = Struct { name: "NotifyCollection", fields: several };
            let read = opened(to, several);
            assert!(read.all("notify").all(|one| {
                matches!(one, Value::Struct(one) if matches!(one.get("representation"), Some(Value::Resource(_))))
            }));
        }
        let mut without = instance();
        without.remove("content");
        for bytes in [
            encode_representation(Format::Xml, &without),
            encode_representation(Format::Xml, &Representation::new(ResourceType::Container)),
            Bytes::from_static(b"<broken"),
        ] {
            let sent = notify("application/xml", bytes);
            assert_eq!(opened(to, sent.clone()), sent);
        }
    }
}
