use super::*;
use crate::fixture::{self, representation, text};

fn named(name: &'static str, fields: Vec<(&'static str, Value)>) -> Value {
    Value::Struct(Struct { name, fields })
}

fn delay(millis: u64) -> XsdDuration {
    XsdDuration { negative: false, months: 0, millis }
}

/// `rcat cron` for each category that may use the network.
fn anp(name: &str, schedules: &[(&str, &str)], blocks: &[(i64, u64)]) -> Representation {
    let schedules = schedules.iter().map(|(rcat, cron)| {
        let string = named("ScheduleString", vec![("#text", text(cron))]);
        let item =
            named("SchedItem", vec![("schedule", named("Schedule", vec![("scheduleString", string)]))]);
        ("rcatSchedule", named("RcatSchedule", vec![("rcatValue", text(rcat)), ("schedItem", item)]))
    });
    let blocks = blocks.iter().map(|(failures, millis)| {
        let fields = vec![
            ("failedAttempts", Value::Long(*failures)),
            ("blockDuration", Value::Duration(delay(*millis))),
        ];
        ("blockItem", named("BlockItem", fields))
    });
    representation(
        ResourceType::AnpPolicy,
        &[
            ("anName", text(name)),
            ("rcatSchedList", named("RcatSchedList", schedules.collect())),
            ("blockPeriods", named("BlockList", blocks.collect())),
        ],
    )
}

fn category(rcat: &str, ranked: &[&str], most: i64, data: &str) -> Representation {
    let ranked = ranked.iter().map(|name| ("accessNetwork", text(name))).collect();
    let trpdt = named("TrpdtType", vec![("tolerableDelay", Value::Duration(delay(90_000)))]);
    representation(
        ResourceType::RcatParamList,
        &[
            ("rcatValue", text(rcat)),
            ("defaultTrpdtValue", trpdt),
            ("maxPendReqs", Value::Long(most)),
            ("maxPendData", text(data)),
            ("rankedAnList", named("RankedAnList", ranked)),
        ],
    )
}

fn set(scope: &[&str]) -> Representation {
    let scope = scope.iter().map(|&listed| listed.to_owned()).collect();
    representation(ResourceType::SafPolicySet, &[("policyScope", Value::List(scope))])
}

fn m2m_sp(rcat: &str) -> Representation {
    representation(ResourceType::M2mSpPolicy, &[("defaultRcatValue", text(rcat))])
}

fn policies(parts: &[(&str, Representation)]) -> Policies {
    let at = |below: &str| fixture::path(&format!("scls/gw/mgmtObjs/etsiSclMo/{below}"));
    let parts: Vec<_> = parts.iter().map(|(below, part)| (at(below), part.clone())).collect();
    Policies::read(&parts)
}

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

/// A night-time network that rests after failures, and one that is always there but dear.
fn two_networks() -> Policies {
    let night = [("RCAT_0", "* 0-5 * * *"), ("RCAT_3", "* 0-5 * * *"), ("RCAT_7", "* 0-5 * * *")];
    policies(&[
        ("set", set(&["default"])),
        ("set/night", anp("night", &night, &[(3, 60_000), (5, 600_000)])),
        ("set/dear", anp("dear", &[("RCAT_3", "* * * * *"), ("RCAT_7", "* * * * *")], &[])),
        ("set/sp", m2m_sp("RCAT_3")),
        ("set/sp/c0", category("RCAT_0", &["night"], 10, "2K")),
        ("set/sp/c3", category("RCAT_3", &["night", "dear"], 20, "1M")),
        ("set/sp/c5", category("RCAT_5", &["night", "dear"], 20, "12B")),
        ("set/sp/c6", category("RCAT_6", &["satellite"], 20, "12B")),
    ])
}

#[test]
fn the_best_network_that_may_be_used_carries_a_request() {
    let policies = two_networks();
    let policy = policies.of(&Entity("/m2m/applications/a".into()), &fixture::scl()).unwrap();
    let (noon, night) = (at("2013-05-31T12:00:00Z"), at("2013-05-31T03:00:00Z"));
    let choose = |rcat: u8, now| policy.choose(Rcat::new(rcat).unwrap(), now, |_| None);
    let now = |name: &str| Choice::Now(Some(name.to_owned()));
    assert_eq!(choose(3, noon), now("dear"));
    assert_eq!(choose(3, night), now("night"));
    assert_eq!(choose(0, noon), Choice::Later(Some(at("2013-06-01T00:00:00Z"))));
    assert_eq!(choose(0, night), now("night"));
    // No network has a schedule for it.
    assert_eq!(choose(5, night), Choice::Later(None));
    // Not ranked: any, by name. Without a policy: not restricted.
    assert_eq!(choose(7, night), now("dear"));
    assert_eq!(choose(6, noon), now("satellite"));
    assert_eq!(choose(1, noon), Choice::Later(None));
}

#[test]
fn a_network_rests_after_failures_and_the_next_one_takes_its_place() {
    let policies = two_networks();
    let policy = policies.of(&Entity("/m2m".into()), &fixture::scl()).unwrap();
    assert_eq!(policy.rests("night", 2), None);
    assert_eq!(policy.rests("night", 3), Some(60_000));
    assert_eq!(policy.rests("night", 9), Some(600_000));
    assert_eq!(policy.rests("dear", 9), None);
    assert_eq!(policy.rests("unheard-of", 9), None);
    let night = at("2013-05-31T03:00:00Z");
    let rests = |until: &'static str| move |name: &str| (name == "night").then(|| at(until));
    let rcat = |number| Rcat::new(number).unwrap();
    let until = rests("2013-05-31T03:10:00Z");
    assert_eq!(policy.choose(rcat(3), night, until), Choice::Now(Some("dear".into())));
    assert_eq!(policy.choose(rcat(0), night, until), Choice::Later(Some(at("2013-05-31T03:10:00Z"))));
    // When its rest is over its schedule must be open, too.
    let beyond = rests("2013-05-31T06:10:00Z");
    assert_eq!(policy.choose(rcat(0), night, beyond), Choice::Later(Some(at("2013-06-01T00:00:00Z"))));
    assert_eq!(
        policy.choose(rcat(0), night, rests("2013-05-31T02:00:00Z")),
        Choice::Now(Some("night".into()))
    );
}

#[test]
fn a_set_is_for_the_applications_it_lists_and_the_default_one_for_the_others() {
    let policies = policies(&[
        ("b", set(&["default"])),
        ("b/sp", m2m_sp("RCAT_1")),
        ("a", set(&["/m2m/applications/meter", "http://nscl.example.net/m2m/applications/alarm", "lamp"])),
        ("a/sp", m2m_sp("RCAT_5")),
    ]);
    let scl = fixture::scl();
    let default_of =
        |entity: &str| policies.of(&Entity(entity.to_owned()), &scl).unwrap().default_rcat().number();
    assert_eq!(default_of("/m2m/applications/meter"), 5);
    assert_eq!(default_of("/m2m/applications/alarm"), 5);
    assert_eq!(default_of("http://gw.example.org/m2m/applications/lamp"), 5);
    assert_eq!(default_of("/m2m/applications/other"), 1);
    assert_eq!(default_of("/m2m"), 1);
    assert!(Policies::default().of(&Entity("/m2m".into()), &scl).is_none());
}

#[test]
fn a_category_has_a_delay_and_limits() {
    let policies = two_networks();
    let policy = policies.of(&Entity("/m2m".into()), &fixture::scl()).unwrap();
    let rcat = |number| Rcat::new(number).unwrap();
    assert_eq!(policy.default_rcat(), rcat(3));
    assert_eq!(policy.trpdt(rcat(0)), Some(Trpdt::After(delay(90_000))));
    assert_eq!(policy.trpdt(rcat(7)), None);
    assert_eq!(policy.limits(rcat(0)), QueueLimits { entries_max: 10, octets_max: 2_048 });
    assert_eq!(policy.limits(rcat(3)).octets_max, 1 << 20);
    assert_eq!(policy.limits(rcat(7)), UNLIMITED);
    for (text, expected) in [("999999999999999T", Some(u64::MAX)), ("7X", None), ("M", None), ("", None)] {
        assert_eq!(octets(text), expected, "{text}");
    }
}

#[test]
fn policies_are_found_below_their_management_object_and_nothing_else_is_read() {
    use crate::{fixture::put, memory::Memory};
    let mut memory = Memory::default();
    let base = "scls/gw/mgmtObjs";
    put(&mut memory, &format!("{base}/mo"), ResourceType::EtsiSclMo, &[]);
    put(&mut memory, &format!("{base}/battery"), ResourceType::EtsiBattery, &[]);
    let scope = Value::List(vec!["default".to_owned()]);
    put(&mut memory, &format!("{base}/mo/set"), ResourceType::SafPolicySet, &[("policyScope", scope)]);
    let sp = [("defaultRcatValue", text("RCAT_6"))];
    put(&mut memory, &format!("{base}/mo/set/sp"), ResourceType::M2mSpPolicy, &sp);
    let scl = fixture::scl();
    let found = resources(&memory, &scl, &fixture::path(base)).unwrap();
    let policies = Policies::read(&found);
    let policy = policies.of(&Entity("/m2m".into()), &scl).unwrap();
    assert_eq!((found.len(), policy.default_rcat().number()), (2, 6));
    let [own, shared] = places("gw");
    assert_eq!((own, shared), (fixture::path(base), fixture::path("scls/mgmtObjs")));
}
