//! What is accepted beyond the schema, and what a refusal says.

use banyan_codec::{Expect, Format, Limits, decode, decode_content, encode_body};
use banyan_model::{Body, ResourceType, StatusCode};
use bytes::Bytes;

/// A body as it would be written, without declaration and root namespaces; or the refusal.
fn outcome(format: Format, text: &str, expect: Expect) -> String {
    match decode(format, text.as_bytes(), &Limits::default(), expect) {
        Body::Malformed(refusal) => {
            assert_eq!(refusal.status, StatusCode::BadRequest, "{}", refusal.info);
            format!("refused: {}", refusal.info)
        }
        body => {
            let written = encode_body(format, &body).expect("a document");
            let written = String::from_utf8(written.to_vec()).expect("UTF-8");
            let declarations = [
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n",
                " xmlns:m2m=\"http://uri.etsi.org/m2m\"",
                " xmlns:xmime=\"http://www.w3.org/2005/05/xmlmime\"",
                " xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"",
            ];
            declarations.iter().fold(written, |text, declaration| text.replacen(declaration, "", 1))
        }
    }
}

/// `$M` in an XML text stands for the m2m namespace, `$X` for xmime's, `$I` for xsi's.
#[track_caller]
fn xml(text: &str, expected: &str) {
    let text = text
        .replace("$M", "\"http://uri.etsi.org/m2m\"")
        .replace("$X", "\"http://www.w3.org/2005/05/xmlmime\"")
        .replace("$I", "\"http://www.w3.org/2001/XMLSchema-instance\"");
    assert_eq!(outcome(Format::Xml, &text, Expect::Any), expected, "{text}");
}

#[track_caller]
fn json(text: &str, expected: &str) {
    assert_eq!(outcome(Format::Json, text, Expect::Any), expected, "{text}");
}

#[test]
fn any_prefix_default_namespace_or_none_reads_the_same() {
    let schema_form = "<m2m:container m2m:id=\"A\"><m2m:maxNrOfInstances>5</m2m:maxNrOfInstances><m2m:announceTo>\
                       <m2m:sclList><reference>/a</reference></m2m:sclList></m2m:announceTo></m2m:container>";
    let schema_form = schema_form.replace(
        "<m2m:maxNrOfInstances>5</m2m:maxNrOfInstances><m2m:announceTo><m2m:sclList><reference>/a</reference></m2m:sclList></m2m:announceTo>",
        "<m2m:announceTo><m2m:sclList><reference>/a</reference></m2m:sclList></m2m:announceTo><m2m:maxNrOfInstances>5</m2m:maxNrOfInstances>",
    );
    for text in [
        "<m2m:container xmlns:m2m=$M m2m:id='A'><m2m:maxNrOfInstances>5</m2m:maxNrOfInstances><m2m:announceTo><m2m:sclList><reference>/a</reference></m2m:sclList></m2m:announceTo></m2m:container>",
        "<container xmlns=$M id='A'><announceTo><sclList><reference>/a</reference></sclList></announceTo><maxNrOfInstances>5</maxNrOfInstances></container>",
        "<container id='A'><maxNrOfInstances>5</maxNrOfInstances><announceTo><sclList><reference>/a</reference></sclList></announceTo></container>",
        "<x:container xmlns:x=$M xmlns:y=$M y:id='A'><y:announceTo><x:sclList><x:reference> /a\n</x:reference></x:sclList></y:announceTo><maxNrOfInstances>\n5 </maxNrOfInstances></x:container>",
        "\u{FEFF}<?xml version='1.0' encoding='utf-8' standalone='yes'?><!-- a - comment --><container xmlns=$M id='A'><!-- c --><announceTo><sclList><reference><![CDATA[/]]>&#97;</reference></sclList></announceTo><maxNrOfInstances>5</maxNrOfInstances></container><!-- end -->\n",
    ] {
        xml(text, &schema_form);
    }
}

#[test]
fn xsi_hints_are_taken_or_ignored() {
    xml(
        "<m2m:container xmlns:m2m=$M xmlns:xsi=$I xsi:schemaLocation='http://uri.etsi.org/m2m container.xsd' xsi:type='m2m:Container'/>",
        "<m2m:container/>",
    );
    xml(
        "<m2m:mgmtObj xmlns:m2m=$M xmlns:i=$I i:type='m2m:EtsiBattery' m2m:id='b'/>",
        "<m2m:mgmtObj xsi:type=\"m2m:EtsiBattery\" m2m:id=\"b\"/>",
    );
    xml(
        "<m2m:mgmtObj xmlns:m2m=$M xmlns:i=$I i:type='m2m:Nothing'/>",
        "refused: mgmtObj: xsi:type Nothing is not known here",
    );
    xml("<m2m:container xmlns:m2m=$M xmlns:i=$I i:nil='true'/>", "refused: xsi:nil: is not accepted");
}

#[test]
fn a_filter_keeps_the_type_it_was_given_or_gets_the_one_it_needs() {
    let base =
        "<m2m:subscription><m2m:filterCriteria><attributeAccessor/></m2m:filterCriteria></m2m:subscription>";
    let derived = "<m2m:subscription><m2m:filterCriteria xsi:type=\"m2m:ContentInstancesFilterCriteriaType\"><attributeAccessor/></m2m:filterCriteria></m2m:subscription>";
    let sized = "<m2m:subscription><m2m:filterCriteria xsi:type=\"m2m:ContentInstancesFilterCriteriaType\"><attributeAccessor/><sizeFrom>7</sizeFrom></m2m:filterCriteria></m2m:subscription>";
    for (text, expected) in [
        ("<filterCriteria/>", base),
        ("<filterCriteria i:type='m2m:FilterCriteriaType'/>", base),
        ("<filterCriteria i:type='m2m:ContentInstancesFilterCriteriaType'/>", derived),
        ("<filterCriteria i:type='m2m:ContentInstanceFilterCriteriaType'/>", derived),
        ("<filterCriteria><sizeFrom>7</sizeFrom></filterCriteria>", sized),
        (
            "<filterCriteria i:type='m2m:FilterCriteriaType'><sizeFrom>7</sizeFrom></filterCriteria>",
            "refused: sizeFrom: unknown element in filterCriteria",
        ),
        (
            "<filterCriteria><creator>/m2m/applications/a</creator></filterCriteria>",
            "refused: creator: a criterion of V1.1.1 that is not supported",
        ),
        ("<filterCriteria i:type='m2m:Other'/>", "refused: filterCriteria: xsi:type Other is not known here"),
    ] {
        xml(&format!("<m2m:subscription xmlns:m2m=$M xmlns:i=$I>{text}</m2m:subscription>"), expected);
    }
    xml(
        "<notificationChannel><channelData><longPollingURI>/p</longPollingURI></channelData></notificationChannel>",
        "<m2m:notificationChannel><m2m:channelData xsi:type=\"m2m:LongPollingChannelData\"><m2m:longPollingURI>/p</m2m:longPollingURI></m2m:channelData></m2m:notificationChannel>",
    );
}

#[test]
fn v1_forms_are_read_and_v2_is_written() {
    xml(
        "<m2m:contentInstance xmlns:m2m=$M xmlns:x=$X m2m:id='c'><m2m:content x:contentType='text/plain'>aGVs\n bG8=</m2m:content></m2m:contentInstance>",
        "<m2m:contentInstance m2m:id=\"c\"><m2m:content xmime:contentType=\"text/plain\"><m2m:binaryContent>aGVsbG8=</m2m:binaryContent></m2m:content></m2m:contentInstance>",
    );
    xml(
        "<scl><schedule><scheduleString>0 1 * * *</scheduleString><scheduleString>5 1 * * *</scheduleString></schedule><mgmtProtocolType>OMA DM</mgmtProtocolType></scl>",
        "<m2m:scl><m2m:schedule><m2m:scheduleString id=\"1\">0 1 * * *</m2m:scheduleString><m2m:scheduleString id=\"2\">5 1 * * *</m2m:scheduleString></m2m:schedule><m2m:mgmtProtocolType>OMA_DM</m2m:mgmtProtocolType></m2m:scl>",
    );
    xml(
        "<container><maxInstanceAge>3600</maxInstanceAge></container>",
        "<m2m:container><m2m:maxInstanceAge>PT1H</m2m:maxInstanceAge></m2m:container>",
    );
    xml(
        "<group><memberType>SERVER_CAPABILITY_LAYER</memberType></group>",
        "<m2m:group><m2m:memberType>SCL_BASE</m2m:memberType></m2m:group>",
    );
    xml(
        "<subscription><filterCriteria><createdSince>2013-01-01T00:00:00</createdSince></filterCriteria></subscription>",
        "<m2m:subscription><m2m:filterCriteria><attributeAccessor/><createdAfter>2013-01-01T00:00:00Z</createdAfter></m2m:filterCriteria></m2m:subscription>",
    );
    json(r#"{"container":{"maxInstanceAge":3600}}"#, r#"{"container":{"maxInstanceAge":"PT1H"}}"#);
    json(
        r#"{"scl":{"schedule":{"scheduleString":"0 1 * * *"}}}"#,
        r#"{"scl":{"schedule":{"scheduleString":[{"id":"1","$t":"0 1 * * *"}]}}}"#,
    );
    for content in [
        r#"{"contentType":"text/plain","$t":"aGVsbG8="}"#,
        r#"{"contentType":"text/plain","binaryContent":"aGVsbG8="}"#,
    ] {
        json(
            &format!(r#"{{"contentInstance":{{"content":{content}}}}}"#),
            r#"{"contentInstance":{"content":{"contentType":"text/plain","binaryContent":"aGVsbG8="}}}"#,
        );
    }
    json(
        r#"{"contentInstance":{"content":{"textContent":"hello","$t":"aGVsbG8="}}}"#,
        r#"{"contentInstance":{"content":{"textContent":"hello"}}}"#,
    );
    json(
        r#"{"contentInstance":{"content":{"textContent":"hello","$t":"AAAA"}}}"#,
        "refused: $t: says something else than the content beside it",
    );
}

#[test]
fn one_attribute_alone_is_read_for_partial_addressing() {
    xml(
        "<m2m:expirationTime xmlns:m2m=$M>2013-06-02T00:00:00Z</m2m:expirationTime>",
        "<m2m:expirationTime>2013-06-02T00:00:00Z</m2m:expirationTime>",
    );
    xml(
        "<searchStrings><searchString>a</searchString></searchStrings>",
        "<m2m:searchStrings><m2m:searchString>a</m2m:searchString></m2m:searchStrings>",
    );
    xml("<latest id='c1'>/m2m/c1</latest>", "<m2m:latest id=\"c1\">/m2m/c1</m2m:latest>");
    json(r#"{"searchStrings":{"searchString":"a"}}"#, r#"{"searchStrings":{"searchString":["a"]}}"#);
    // No document has them as elements, but partial addressing shows them alone.
    xml("<appId>a1</appId>", "<m2m:appId>a1</m2m:appId>");
    json(r#"{"sclId":"s1"}"#, r#"{"sclId":"s1"}"#);
    json(r#"{"id":"c1"}"#, r#"{"id":"c1"}"#);
    json(r#"{"expirationTime":"tomorrow"}"#, "refused: expirationTime: not an xs:dateTime");
}

#[test]
fn xml_refusals_name_the_element_and_say_what_was_expected() {
    for (text, expected) in [
        ("<nothing/>", "nothing: no resource, attribute or message of this name"),
        ("<membersContent/>", "membersContent: no resource, attribute or message of this name"),
        (
            "<container xmlns='urn:other'/>",
            "{urn:other}container: not in the namespace http://uri.etsi.org/m2m",
        ),
        ("<container><colour>red</colour></container>", "colour: unknown element in container"),
        ("<container xmlns:v='urn:v'><v:colour/></container>", "{urn:v}colour: unknown element in container"),
        ("<container colour='red'/>", "colour: unknown attribute of container"),
        ("<container xmlns:v='urn:v' v:id='A'/>", "id: unknown attribute of container"),
        ("<container xmlns:m='http://uri.etsi.org/m2m' id='A' m:id='A'/>", "id: stands more than once"),
        (
            "<container><maxByteSize>1</maxByteSize><maxByteSize>2</maxByteSize></container>",
            "maxByteSize: stands more than once in container",
        ),
        ("<container>text</container>", "container: text where only elements are allowed"),
        (
            "<container><searchStrings>a</searchStrings></container>",
            "searchStrings: text where only elements are allowed",
        ),
        (
            "<container><searchStrings><string/></searchStrings></container>",
            "string: unknown element in searchStrings",
        ),
        (
            "<container><searchStrings><searchString a='b'/></searchStrings></container>",
            "a: unknown attribute of searchString",
        ),
        ("<container><maxByteSize><b/></maxByteSize></container>", "b: unknown element in maxByteSize"),
        ("<container><maxByteSize>many</maxByteSize></container>", "maxByteSize: not an integer"),
        (
            "<container><expirationTime>soon</expirationTime></container>",
            "expirationTime: not an xs:dateTime",
        ),
        ("<container><maxInstanceAge>P</maxInstanceAge></container>", "maxInstanceAge: not an xs:duration"),
        ("<container id='a b'/>", "id: not an xs:NMTOKEN (letters, digits, '.', '-', '_', ':')"),
        ("<scl sclId='a%'/>", "sclId: not an xs:anyURI"),
        ("<application appId='7:30'/>", "appId: not an xs:anyURI"),
        ("<group><members><reference>a[1]</reference></members></group>", "reference: not an xs:anyURI"),
        ("<scl><sclType>XSCL</sclType></scl>", "sclType: not one of NSCL, GSCL, DSCL"),
        (
            "<container><announceTo><activated>yes</activated><sclList/></announceTo></container>",
            "activated: not an xs:boolean (true, false, 1, 0)",
        ),
        (
            "<subscription><minimalTimeBetweenNotifications>1</minimalTimeBetweenNotifications><delayTolerance>2013-06-02T00:00:00Z</delayTolerance></subscription>",
            "delayTolerance: excludes minimalTimeBetweenNotifications in subscription",
        ),
        (
            "<m2mPoc><contactInfo><contactURI>a</contactURI><other/></contactInfo></m2mPoc>",
            "other: excludes contactURI in contactInfo",
        ),
        ("<m2mPoc><contactInfo/></m2mPoc>", "contactURI: is missing in contactInfo"),
        // V1 had them, V2 has nothing in their place.
        (
            "<subscription><filterCriteria><ifMatch>e</ifMatch></filterCriteria></subscription>",
            "ifMatch: a criterion of V1.1.1 that is not supported",
        ),
        (
            "<subscription><filterCriteria><creator>/m2m/applications/a</creator></filterCriteria></subscription>",
            "creator: a criterion of V1.1.1 that is not supported",
        ),
        (
            "<subscription><creator>/m2m/applications/a</creator></subscription>",
            "creator: unknown element in subscription",
        ),
        (
            "<contentInstance><content><binaryContent>aGk=</binaryContent><textContent>hi</textContent></content></contentInstance>",
            "textContent: content holds one of binaryContent and textContent, once",
        ),
        (
            "<contentInstance><content>aGk=<textContent>hi</textContent></content></contentInstance>",
            "content: text beside an element",
        ),
        (
            "<contentInstance><content><other/></content></contentInstance>",
            "other: unknown element in content",
        ),
        (
            "<accessRight><permissions><permission><permissionHolders/></permission></permissions></accessRight>",
            "permissionFlags: is missing in permission",
        ),
        (
            "<accessRight><permissions><permission><permissionFlags/><permissionHolders><all>everybody</all></permissionHolders></permission></permissions></accessRight>",
            "all: must be empty",
        ),
        (
            "<notify><statusCode>STATUS_OK</statusCode></notify>",
            "subscriptionReference: is missing in notify",
        ),
        (
            "<applications><applicationCollection><namedReference>/a</namedReference></applicationCollection></applications>",
            "id: is missing in namedReference",
        ),
        ("<container/><container/>", "container: a second root element"),
        ("<mgmtObj xmlns:v='urn:v'><colour/></mgmtObj>", "colour: unknown element in mgmtObj"),
    ] {
        xml(text, &format!("refused: {expected}"));
    }
    let refusal =
        outcome(Format::Xml, "<contentInstance><content>a-_b</content></contentInstance>", Expect::Any);
    assert!(refusal.starts_with("refused: content: not base64"), "{refusal}");
}

#[test]
fn json_refusals_name_the_member_and_say_what_was_expected() {
    for (text, expected) in [
        (r#"[]"#, "not an object with one member, named after its type"),
        (r#"{}"#, "not an object with one member, named after its type"),
        (r#"{"container":{},"application":{}}"#, "not an object with one member, named after its type"),
        (r#"{"nothing":{}}"#, "nothing: no resource, attribute or message of this name"),
        (r#"{"container":[]}"#, "container: an object was expected"),
        (r#"{"container":{"colour":1}}"#, "colour: unknown member of container"),
        (
            r#"{"subscription":{"filterCriteria":{"ifMatch":["e"]}}}"#,
            "ifMatch: a criterion of V1.1.1 that is not supported",
        ),
        (r#"{"container":{"maxByteSize":1.5}}"#, "maxByteSize: not an integer of 64 bits"),
        (r#"{"container":{"maxByteSize":1e3}}"#, "maxByteSize: not an integer of 64 bits"),
        (r#"{"container":{"maxByteSize":18446744073709551616}}"#, "maxByteSize: not an integer of 64 bits"),
        (
            r#"{"container":{"maxByteSize":9223372036854775808}}"#,
            "maxByteSize: out of range (-9223372036854775808 to 9223372036854775807)",
        ),
        (r#"{"container":{"maxByteSize":true}}"#, "maxByteSize: a boolean was not expected"),
        (r#"{"container":{"maxByteSize":null}}"#, "maxByteSize: is null; leave it out instead"),
        (r#"{"container":{"maxByteSize":[1]}}"#, "maxByteSize: one value expected, not an array"),
        (r#"{"container":{"expirationTime":5}}"#, "expirationTime: a string was expected, not a number"),
        (r#"{"container":{"searchStrings":["a"]}}"#, "searchStrings: an object was expected"),
        (
            r#"{"container":{"searchStrings":{"searchString":["a"],"b":1}}}"#,
            "b: unknown member of searchStrings",
        ),
        (
            r#"{"container":{"searchStrings":{"searchString":["\u0000"]}}}"#,
            "searchString: a character that XML does not allow",
        ),
        (
            r#"{"subscription":{"minimalTimeBetweenNotifications":1,"delayTolerance":"2013-06-02T00:00:00Z"}}"#,
            "delayTolerance: excludes minimalTimeBetweenNotifications in subscription",
        ),
        (r#"{"contentInstance":{"content":{}}}"#, "content: one of binaryContent and textContent is missing"),
        (
            r#"{"contentInstance":{"content":{"contentType":"text/plain"}}}"#,
            "content: one of binaryContent and textContent is missing",
        ),
        (
            r#"{"contentInstance":{"content":{"binaryContent":"aGk=","textContent":"hi"}}}"#,
            "textContent: content holds one of binaryContent and textContent",
        ),
        (
            r#"{"accessRight":{"permissions":{"permission":[{"permissionFlags":{"flag":["SHOUT"]},"permissionHolders":{}}]}}}"#,
            "flag: not one of READ, WRITE, DISCOVER, DELETE, CREATE",
        ),
        (
            r#"{"accessRight":{"permissions":{"permission":[{"permissionFlags":{"flag":[]}}]}}}"#,
            "permissionHolders: is missing in permission",
        ),
        (r#"{"mgmtObj":{"{urn:v}a b":1}}"#, "{urn:v}a b: not a name or {namespace}name"),
        (r#"{"mgmtObj":{"{http://uri.etsi.org/m2m}x":1}}"#, "x: unknown member of mgmtObj"),
    ] {
        json(text, &format!("refused: {expected}"));
    }
    for text in [r#"{"container":{"id":"a","id":"a"}}"#, r#"{"container":{"id":"a","\u0069d":"a"}}"#] {
        let refusal = outcome(Format::Json, text, Expect::Any);
        assert!(refusal.starts_with("refused: not acceptable JSON: id: stands more than once"), "{refusal}");
    }
}

#[test]
fn json_is_written_with_arrays_and_read_with_bare_values() {
    json(r#"{"container":{"searchStrings":{}}}"#, r#"{"container":{"searchStrings":{"searchString":[]}}}"#);
    json(
        r#"{"accessRight":{"permissions":{"permission":{"id":"p","permissionFlags":{"flag":"READ"},"permissionHolders":{"all":{}}}}}}"#,
        r#"{"accessRight":{"permissions":{"permission":[{"id":"p","permissionFlags":{"flag":["READ"]},"permissionHolders":{"all":{}}}]}}}"#,
    );
    json(
        r#"{"accessRight":{"permissions":{"permission":[]}}}"#,
        r#"{"accessRight":{"permissions":{"permission":[]}}}"#,
    );
    json(r#"{"container":{"maxByteSize":"12"}}"#, r#"{"container":{"maxByteSize":12}}"#);
    json(
        r#"{"mgmtCmd":{"execReqArgs":{"execReqArg":[{"name":"n","value":21.5},{"name":"m","value":{"@a":"1","b":["x","y"],"$t":"t"}}]}}}"#,
        r#"{"mgmtCmd":{"execReqArgs":{"execReqArg":[{"name":"n","value":"21.5"},{"name":"m","value":{"@a":"1","$t":"t","b":["x","y"]}}]}}}"#,
    );
}

#[test]
fn another_root_than_the_expected_one_is_refused() {
    let check = |text: &str, expect, expected: &str| assert_eq!(outcome(Format::Xml, text, expect), expected);
    check("<container/>", Expect::Resource(ResourceType::Container), "<m2m:container/>");
    check(
        "<container/>",
        Expect::Resource(ResourceType::Application),
        "refused: container: application was expected",
    );
    check("<container/>", Expect::Message("notify"), "refused: container: notify was expected");
    check("<errorInfo/>", Expect::Message("errorInfo"), "<m2m:errorInfo/>");
    check(
        "<expirationTime/>",
        Expect::Message("errorInfo"),
        "refused: expirationTime: errorInfo was expected",
    );
    check(
        "<m:mgmtObj xmlns:m='http://uri.etsi.org/m2m' xmlns:i='http://www.w3.org/2001/XMLSchema-instance' i:type='m:EtsiMemory'/>",
        Expect::Resource(ResourceType::MgmtObj),
        "<m2m:mgmtObj xsi:type=\"m2m:EtsiMemory\"/>",
    );
}

#[test]
fn parts_of_attributes_stand_alone() {
    use banyan_model::Value;
    let read = |format, text: &str| match decode(format, text.as_bytes(), &Limits::default(), Expect::Any) {
        Body::Attribute { name, value } => Some((name, value)),
        _ => None,
    };
    let text = |text: &str| Value::Text(text.to_owned());
    for (name, xml, json, expected) in [
        ("searchString", "<searchString>a</searchString>", r#"{"searchString":"a"}"#, text("a")),
        ("reference", "<reference>/m2m/x</reference>", r#"{"reference":"/m2m/x"}"#, text("/m2m/x")),
        ("flag", "<flag>READ</flag>", r#"{"flag":"READ"}"#, text("READ")),
        ("activated", "<activated>true</activated>", r#"{"activated":true}"#, Value::Bool(true)),
    ] {
        for (format, document) in [(Format::Xml, xml), (Format::Json, json)] {
            let found = read(format, document);
            assert_eq!(found, Some((name.to_owned(), expected.clone())), "{document}");
            let written = banyan_codec::encode_attribute(format, name, &expected).expect("a document");
            assert_eq!(read(format, std::str::from_utf8(&written).unwrap()), found, "{document}");
        }
    }
    let permission = "<permission id='p'><permissionFlags><flag>READ</flag></permissionFlags>\
                      <permissionHolders><all/></permissionHolders></permission>";
    let Some((name, Value::Struct(fields))) = read(Format::Xml, permission) else { panic!("a struct") };
    assert_eq!(
        (name.as_str(), fields.name, fields.get("id")),
        ("permission", "PermissionType", Some(&text("p")))
    );
    assert_eq!(read(Format::Xml, "<flag>LOOK</flag>"), None, "an entry is checked as in its list");
}

#[test]
fn the_content_type_chooses_the_reader() {
    let read = |content_type: &str, text: &'static str| {
        decode_content(content_type, &Bytes::from_static(text.as_bytes()), &Limits::default(), Expect::Any)
    };
    assert!(matches!(read("application/xml; charset=utf-8", "<container/>"), Body::Representation(_)));
    assert!(matches!(read("TEXT/XML;charset=\"UTF-8\"", "<container/>"), Body::Representation(_)));
    assert!(matches!(read("application/json", r#"{"container":{}}"#), Body::Representation(_)));
    assert!(matches!(read("application/json", "<container/>"), Body::Malformed(_)));
    assert_eq!(read("application/xml", ""), Body::None);
    let raw =
        Body::Raw { content_type: "text/plain; charset=latin1".into(), bytes: Bytes::from_static(b"hi") };
    assert_eq!(read("text/plain; charset=latin1", "hi"), raw);
    let Body::Malformed(refusal) = read("application/xml; charset=ISO-8859-1", "<container/>") else {
        panic!()
    };
    assert_eq!(refusal.status, StatusCode::UnsupportedMediaType);
    assert_eq!(refusal.info, "Content-Type: only the charset UTF-8 is accepted");
}

#[test]
fn content_that_is_no_text_falls_back_to_base64() {
    use banyan_model::{Content, Representation, Value, value::ContentForm};
    let written = |format, bytes: &'static [u8]| {
        let mut instance = Representation::new(ResourceType::ContentInstance);
        let content =
            Content { content_type: None, bytes: Bytes::from_static(bytes), form: ContentForm::Text };
        instance.set("content", Value::Content(content));
        String::from_utf8(encode_body(format, &Body::Representation(instance)).expect("a document").to_vec())
            .unwrap()
    };
    assert!(written(Format::Xml, b"a\0b").contains("<m2m:binaryContent>YQBi</m2m:binaryContent>"));
    assert!(written(Format::Xml, b"\xFF").contains("<m2m:binaryContent>/w==</m2m:binaryContent>"));
    assert!(written(Format::Xml, b"a<b").contains("<m2m:textContent>a&lt;b</m2m:textContent>"));
    assert!(written(Format::Json, b"\xFF").contains(r#""binaryContent":"/w==""#));
    assert!(written(Format::Json, b"a\0b").contains(r#""textContent":"a\u0000b""#));
}
