//! membersContent: one request to a group becomes one to each of its members, and their answers one answer
//! (procedures.md 9.2).
//!
//! The leader of the group authorises, reads the members and asks each of them as the issuer would: same method, body
//! and criteria, same requestingEntity; whoever hosts a member decides again. Nothing of this is in the group's log. The
//! node that leads may change in the middle, so nothing here may have to be remembered for safety: each member's part has
//! an id made from that of the whole (`group::part_id`), and the member's own shard knows what it has done.
//!
//! Invariants: one answer, before the deadline, whatever the members do; a group is expanded once for a
//! groupRequestIdentifier; bounded are the fan-outs of a node, the members asked at once (by one and by all), and the
//! octets of an answer.

use super::{
    Desk, Place, aggregation::Aggregation, call::Reached, handled::Handled, pending::Ticket, response_of,
};
use crate::subtree::ShardHandle;
use banyan_codec::{Format, encode_body, entity_tag, error_info, status_name};
use banyan_model::{
    Body, Method, Path, Refusal, Representation, RequestId, RequestPrimitive, ResponsePrimitive, StatusCode,
    Value, admit::Target, group, primitive::NotifyMedia, tables::Mode, value::Struct,
};
use banyan_proto::{convert, v1::answer::What};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use std::time::{Duration, Instant};

/// What is kept of the time to put the answers together: a tenth, at most this.
const MARGIN_MAX: Duration = Duration::from_millis(250);
/// How long a groupRequestIdentifier may be.
const IDENTIFIER_MAX: usize = 128;

/// One fan-out at work.
struct FanOut<'a> {
    desk: &'a Desk,
    group: &'a Path,
    members: &'a [String],
    suffix: String,
    request: RequestPrimitive,
    aggregation: Aggregation,
    id: RequestId,
    deadline: Instant,
    format: Format,
}

impl Desk {
    /// Carries out a request that may be for the members of a group. If the tree says that it is not, it goes the way
    /// of any other.
    pub(super) fn fan_out(
        &self,
        request: RequestPrimitive,
        id: RequestId,
        shard: ShardHandle,
        place: Place,
        deadline: Instant,
        ticket: Ticket,
    ) {
        let desk = self.clone();
        tokio::spawn(async move {
            let mutating = request.method != Method::Retrieve && id.session != 0;
            // Sent again while the first is under way, or after its answer was lost.
            let running = match mutating.then(|| desk.inner.handled.begin(id)) {
                Some(Handled::Again(answer)) => {
                    if let Some(answer) = answer.wait().await {
                        ticket.answer(What::Response(answer));
                    }
                    return;
                }
                Some(Handled::First(running)) => Some(running),
                None => None,
            };
            let admitted = shard.admit(&request, deadline).await;
            let (admission, resource) = match admitted {
                Ok(Ok(admitted)) => admitted,
                Ok(Err(refusal)) => return ticket.answer(response_of(&refusal.into())),
                Err(error) => return ticket.answer(place.what(Err(error))),
            };
            let (Target::MembersContent { group, suffix }, Some(resource)) = (admission.target, resource)
            else {
                drop(running);
                return desk.carry(request, id, shard, place, deadline, ticket);
            };
            let group_representation = resource.representation;
            let answer =
                desk.expand(&group, &group_representation, &suffix, request, id, deadline, &shard).await;
            let bytes = convert::response_to_bytes(&answer);
            if let Some(running) = running {
                running.end(bytes.clone());
            }
            ticket.answer(What::Response(bytes));
        });
    }

    #[allow(clippy::too_many_arguments, reason = "what an expansion is made of, once")]
    async fn expand(
        &self,
        group: &Path,
        representation: &Representation,
        suffix: &[String],
        mut request: RequestPrimitive,
        id: RequestId,
        deadline: Instant,
        shard: &ShardHandle,
    ) -> ResponsePrimitive {
        if let Err(refusal) = group::check_suffix(representation, suffix) {
            return refusal.into();
        }
        let identifier = match request.group_request.take() {
            Some(identifier) if identifier.is_empty() || identifier.len() > IDENTIFIER_MAX => {
                return Refusal::attribute("groupRequestIdentifier", "is empty or too long").into();
            }
            Some(identifier) => identifier,
            None => format!("{:032x}", rand::random::<u128>()),
        };
        if let Err(refusal) = self.inner.handled.expand(group, &identifier, id, deadline) {
            return refusal.into();
        }
        request.group_request = Some(identifier);
        request.correlation = None;
        name_child(&mut request, id, group);
        let aggregation = match self.aggregate(group, suffix, &mut request, id, shard, deadline).await {
            Ok(aggregation) => aggregation,
            Err(answer) => return answer,
        };

        let left = deadline.saturating_duration_since(Instant::now());
        let format = match request.notify_media {
            NotifyMedia::Xml => Format::Xml,
            NotifyMedia::Json => Format::Json,
        };
        let deletes = request.method == Method::Delete && suffix.is_empty();
        let fan_out = FanOut {
            desk: self,
            group,
            members: group::members(representation),
            suffix: Path::from_segments(suffix.to_vec()).to_string(),
            request,
            aggregation,
            id,
            deadline: deadline - (left / 10).min(MARGIN_MAX),
            format,
        };
        let answers = fan_out.ask_all().await;
        self.settle(&fan_out.aggregation, &answers, shard, deadline).await;
        if deletes {
            let gone: Vec<String> = fan_out
                .members
                .iter()
                .zip(&answers)
                .filter(|(_, answer)| answer.status == StatusCode::Ok)
                .map(|(member, _)| member.clone())
                .collect();
            self.remove(group, gone, shard, deadline).await;
        }
        fan_out.aggregate(answers)
    }

    /// Members that were deleted through the group are no members any more. If it cannot be written now the group
    /// lists addresses at which nothing stands, as it may at any time.
    async fn remove(&self, group: &Path, gone: Vec<String>, shard: &ShardHandle, deadline: Instant) {
        if gone.is_empty() {
            return;
        }
        let operation = banyan_model::Operation::RemoveMembers { group: group.clone(), members: gone };
        let removed = tokio::time::timeout_at(deadline.into(), shard.operate(operation)).await;
        if let Ok(Err(error)) = removed {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(%group, error, "members that were deleted stay listed");
        } else if removed.is_err() {
            tracing::warn!(%group, "members that were deleted stay listed: no time was left");
        }
    }
}

impl FanOut<'_> {
    /// The answers in the order of the members.
    async fn ask_all(&self) -> Vec<ResponsePrimitive> {
        let most = self.desk.inner.config.fan_out_concurrency.max(1);
        let mut answers: Vec<(usize, ResponsePrimitive)> = stream::iter(0..self.members.len())
            .map(|at| async move { (at, self.ask(&self.members[at]).await) })
            .buffer_unordered(most)
            .collect()
            .await;
        answers.sort_by_key(|(at, _)| *at);
        answers.into_iter().map(|(_, answer)| answer).collect()
    }

    async fn ask(&self, member: &str) -> ResponsePrimitive {
        let uri = self.uri(member);
        let asked = async {
            // What is expanded again waits for others, who must find room: only what ends by itself takes it.
            let expands = self.desk.local(&uri).is_some_and(|path| group::leads_to_members(&path));
            let _room = match expands {
                true => None,
                false => self.desk.inner.fan_out_room.acquire().await.ok(),
            };
            let id = group::part_id(self.id, self.group, member);
            let mut request = self.request.clone();
            self.aggregation.for_member(&mut request, &self.desk.reach(&uri));
            self.desk.call_as(&uri, id, request, self.deadline).await
        };
        match tokio::time::timeout_at(self.deadline.into(), asked).await {
            Ok(answer) => answer,
            Err(_) => {
                let status = match self.desk.reach(&uri) {
                    Reached::Here(_) => StatusCode::RequestTimeout,
                    Reached::Elsewhere => StatusCode::GatewayTimeout,
                };
                Refusal::new(status, "the member did not answer in time").into()
            }
        }
    }

    fn uri(&self, member: &str) -> String {
        format!("{}{}", member.trim_end_matches('/'), self.suffix)
    }

    fn aggregate(&self, answers: Vec<ResponsePrimitive>) -> ResponsePrimitive {
        let mut room = self.desk.inner.config.fan_out_bytes_max;
        let statuses = self
            .members
            .iter()
            .zip(answers)
            .map(|(member, answer)| {
                let status = self.status(member, answer, &mut room);
                ("status", Value::Struct(status))
            })
            .collect();
        ResponsePrimitive {
            body: Body::Message(Struct { name: "MembersContentResponses", fields: statuses }),
            ..ResponsePrimitive::status(StatusCode::Ok)
        }
    }

    /// One member's part of the answer. What a RETRIEVE brought and there is no room for is refused; a write says at
    /// least that it was done.
    fn status(&self, member: &str, mut answer: ResponsePrimitive, room: &mut usize) -> Struct {
        let mut document = self.document(&answer);
        if document.as_ref().is_some_and(|(_, bytes)| bytes.len() > *room) {
            document = None;
            if self.request.method == Method::Retrieve {
                let info = "the answers of the members before this one fill the aggregated answer";
                answer = Refusal::new(StatusCode::Forbidden, info).into();
            }
        }
        let text = |text: &str| Value::Text(text.to_owned());
        let name = match answer.status {
            // A free string here, unlike in notify (D-2).
            StatusCode::Created => "STATUS_CREATED",
            status => status_name(status),
        };
        let mut fields = vec![("id", text(member)), ("statusCode", text(name))];
        let format = (!matches!(answer.body, Body::Raw { .. })).then_some(self.format);
        fields.extend(answer.etag.map(|etag| ("eTag", Value::Text(entity_tag(&etag, format)))));
        let resource = answer.resource_uri.unwrap_or_else(|| self.uri(member));
        fields.push(("resourceURI", Value::Text(resource)));
        fields.extend(answer.last_modified.map(|at| ("lastModifiedTime", Value::Datetime(at))));
        if let Some((content_type, bytes)) = document {
            *room -= bytes.len();
            fields.push(("resultBody", Value::Binary { content_type: Some(content_type), bytes }));
        }
        Struct { name: "MembersContentStatus", fields }
    }

    /// What the member's answer would have been over HTTP.
    fn document(&self, answer: &ResponsePrimitive) -> Option<(String, Bytes)> {
        if let Body::Raw { content_type, bytes } = &answer.body {
            return Some((content_type.clone(), bytes.clone()));
        }
        let ours = self.format.media_type().to_owned();
        if let Some(bytes) = encode_body(self.format, &answer.body) {
            return Some((ours, bytes));
        }
        match answer.status {
            StatusCode::Ok | StatusCode::Created | StatusCode::Accepted | StatusCode::NotModified => None,
            status => Some((ours, error_info(self.format, status, &answer.info))),
        }
    }
}

/// A child without a name gets one here where its collection is a root one: it says which shard decides, so it must be
/// the same when the part is sent again.
fn name_child(request: &mut RequestPrimitive, id: RequestId, group: &Path) {
    if request.method != Method::Create {
        return;
    }
    let Body::Representation(child) = &mut request.body else { return };
    let Some(attribute) = child.resource_type.id_attribute() else { return };
    let is_ours_to_choose = child.get(attribute.field.name).is_none() && attribute.create != Mode::Mandatory;
    if is_ours_to_choose && id.session != 0 && is_for_root_collections(child) {
        let drawn = group::part_id(id, group, "the child");
        child.set(attribute.field.name, Value::Text(format!("{:016x}", drawn.session)));
    }
}

fn is_for_root_collections(child: &Representation) -> bool {
    use banyan_model::{ResourceType, path::ROOT_COLLECTIONS};
    ROOT_COLLECTIONS.iter().filter_map(|collection| ResourceType::from_name(collection)).any(|collection| {
        collection.def().children.iter().any(|held| held.holds.contains(&child.resource_type))
    })
}
