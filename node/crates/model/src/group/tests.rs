use super::*;
use crate::fixture;

fn texts(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn only_what_follows_a_name_in_groups_may_be_members_content() {
    for (path, expected) in [
        ("groups/g/membersContent", true),
        ("groups/g/membersContent/contentInstances/latest", true),
        ("applications/a/groups/g/membersContent", true),
        ("applications/groups/groups/groups/membersContent", true),
        ("scls/s/groups/g/membersContent/x", true),
        ("groups/membersContent", false),
        ("groups/membersContent/members", false),
        ("containers/g/membersContent", false),
        ("groups/g", false),
    ] {
        assert_eq!(leads_to_members(&fixture::path(path)), expected, "{path}");
    }
}

#[test]
fn a_suffix_must_be_something_that_the_members_can_have() {
    for (member_type, suffix, expected) in [
        ("CONTAINER", "", true),
        ("CONTAINER", "contentInstances", true),
        ("CONTAINER", "contentInstances/latest/content", true),
        ("CONTAINER", "contentInstances/any-id", true),
        ("CONTAINER", "contentInstances/subscriptions", true),
        ("CONTAINER", "subscriptions", true),
        ("CONTAINER", "searchStrings", true),
        ("CONTAINER", "containers", false),
        ("CONTAINER", "contentInstances/a/b", false),
        ("ACCESS_RIGHT", "permissions", true),
        ("ACCESS_RIGHT", "contentInstances", false),
        ("APPLICATION", "commands/on", true),
        ("MIXED", "anything/at/all", true),
    ] {
        let group =
            fixture::representation(ResourceType::Group, &[("memberType", fixture::text(member_type))]);
        let suffix: Vec<String> = suffix.split('/').filter(|s| !s.is_empty()).map(str::to_owned).collect();
        let found = check_suffix(&group, &suffix);
        assert_eq!(found.is_ok(), expected, "{member_type} {suffix:?}: {found:?}");
        assert!(found.is_ok() || found.is_err_and(|refusal| refusal.status == StatusCode::BadRequest));
    }
}

#[test]
fn a_member_counts_once_however_it_is_written() {
    let scl = fixture::scl();
    let members = texts(&[
        "/m2m/containers/a",
        "http://nscl.example.net/m2m/containers/%61/",
        "http://gw.example.org/m2m/containers/a",
        "/m2m/containers/a",
    ]);
    let kept = distinct(&scl, None, &members);
    assert_eq!(kept, Ok(texts(&["/m2m/containers/a", "http://gw.example.org/m2m/containers/a"])));
    let own = fixture::path("groups/g");
    for bad in [
        "containers/a",
        "/other/containers/a",
        "http:///x",
        "",
        "/m2m/groups/g/membersContent",
        "/m2m/groups/g",
    ] {
        let refused = distinct(&scl, Some(&own), &texts(&[bad])).expect_err(bad);
        assert_eq!(refused.status, StatusCode::BadRequest, "{bad}");
        assert!(refused.info.starts_with("members: "), "{}", refused.info);
    }
    assert!(distinct(&scl, Some(&own), &texts(&["/m2m/groups/g2"])).is_ok());
}

/// The members `c` (a container), `a` (an application), `x` (nothing) and `r` (unreachable), and what is kept of them.
fn check(member_type: &str, strategy: &str, expected: Result<(&[&str], Option<&str>, bool), &str>) {
    let facts = [
        Fact::Is(ResourceType::Container),
        Fact::Is(ResourceType::Application),
        Fact::Missing,
        Fact::Unknown,
    ];
    let found = match consistency(member_type, strategy, texts(&["c", "a", "x", "r"]), &facts) {
        Consistency::Keep(kept) => Ok(kept),
        Consistency::Abandon(member) => Err(member),
    };
    let expected = expected.map(|(members, member_type, validated)| Verified {
        members: texts(members),
        member_type: member_type.map(str::to_owned),
        validated,
    });
    assert_eq!(found, expected.map_err(str::to_owned), "{member_type} {strategy}");
}

#[test]
fn the_strategy_says_what_becomes_of_a_member_that_does_not_fit() {
    check("CONTAINER", "ABANDON_MEMBER", Ok((&["c", "r"], None, false)));
    check("CONTAINER", "ABANDON_GROUP", Err("a"));
    check("CONTAINER", "MODIFY_TYPE", Ok((&["c", "a", "r"], Some("MIXED"), false)));
    check("MIXED", "ABANDON_MEMBER", Ok((&["c", "a", "r"], None, false)));
    check("MIXED", "ABANDON_GROUP", Err("x"));
    let all = consistency("CONTAINER", "", texts(&["c"]), &[Fact::Is(ResourceType::Container)]);
    assert!(matches!(all, Consistency::Keep(Verified { validated: true, .. })), "{all:?}");
}

#[test]
fn a_limit_counts_unless_it_is_negative() {
    assert!(
        check_count(3, None).is_ok() && check_count(3, Some(3)).is_ok() && check_count(3, Some(-1)).is_ok()
    );
    assert_eq!(check_count(3, Some(2)).map_err(|refusal| refusal.status), Err(StatusCode::Forbidden));
    assert_eq!(check_count(1, Some(0)).map_err(|refusal| refusal.status), Err(StatusCode::Forbidden));
}

#[test]
fn a_part_has_the_same_id_whenever_its_whole_has() {
    let whole = RequestId { session: 7, sequence: 9, acked_below: 3 };
    let group = fixture::path("groups/g");
    let part = part_id(whole, &group, "/m2m/containers/a");
    assert_eq!(part, part_id(RequestId { acked_below: 8, ..whole }, &group, "/m2m/containers/a"));
    assert_ne!(part, part_id(whole, &group, "/m2m/containers/b"));
    assert_ne!(part, part_id(whole, &fixture::path("groups/h"), "/m2m/containers/a"));
    assert_ne!(part.session, part_id(RequestId { sequence: 10, ..whole }, &group, "x").session);
    assert_eq!(part_id(RequestId::default(), &group, "x"), RequestId::default(), "no id, no promise");
}
