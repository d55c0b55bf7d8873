//! A CloudEvents batch is many commands: each takes the rest of the road alone, and one answer lists what became
//! of them.

use super::deliver;
use super::forward::{self, Collected, collect};
use super::lane::Lane;
use super::later;
use super::told::Told;
use crate::command::{self, Batch, Element};
use crate::exchange::{Answer, Body, Headers};
use crate::route::Way;
use bytes::Bytes;
use serde_json::{Value, json};
use std::rc::Rc;

/// Bytes of each element's answer that the list repeats.
const ANSWER_MAX: usize = 64 << 10;

/// Sends each element and lists the results in order.
pub(super) async fn each(lane: Rc<Lane>, whole: Told, way: Way, elements: Vec<Element>) -> Answer {
    let mut results = Vec::with_capacity(elements.len());
    for element in elements {
        results.push(match element {
            Element::Event(event) => one(&lane, &whole, &way, event).await,
            Element::Invalid(why) => json!({"status": 400, "error": why}),
        });
    }
    whole.forget();
    let mut headers = Headers::default();
    headers.set("content-type", "application/json");
    let text = Value::Array(results).to_string();
    headers.set("content-length", text.len().to_string());
    Answer { status: 200, headers, body: Body::from(Bytes::from(text)) }
}

async fn one(lane: &Rc<Lane>, whole: &Told, way: &Way, event: Bytes) -> Value {
    let mut head = whole.ex.request.clone();
    head.headers.set("content-type", "application/cloudevents+json");
    head.headers.set("content-length", event.len().to_string());
    // What the outer request said of itself is not true of each of its events.
    for outer in ["transfer-encoding", "fourmi-id", "fourmi-command", "idempotency-key"] {
        head.headers.remove(outer);
    }
    let mut told = whole.sibling(head);
    let road = told.road.clone();
    command::from_head(&road.rules, road.sampler, &mut told.ex);
    // Its time began with the batch's.
    told.ex.deadline = whole.ex.deadline;
    if let Batch::Many(_) = command::from_body(&road.rules, &mut told.ex, &event) {
        told.forget();
        return json!({"status": 400, "error": "a batch inside a batch"});
    }
    command::settle(&mut told.ex, way.name());
    let id = told.ex.command.id.clone();
    let name = told.ex.command.name.to_string();
    let body = Body::from(event);
    let answer = match later::is_wanted(&told, way) {
        true => Box::pin(later::go(lane.clone(), told, way.clone(), body, None)).await,
        false => Box::pin(deliver(lane.clone(), told, way.clone(), body, None)).await,
    };
    let body = match collect(answer.body, ANSWER_MAX).await {
        Ok(Collected::All(bytes)) => serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned())),
        Ok(Collected::More(rest)) => {
            // Read to its end, so that the command ends well; the list does not repeat it.
            forward::discard(rest).await;
            Value::Null
        }
        Err(_) => Value::Null,
    };
    json!({"id": id, "command": name, "status": answer.status, "body": body})
}
