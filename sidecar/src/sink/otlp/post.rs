//! One request, and what its answer means (OTLP 1.9, "OTLP/HTTP Response").

use super::Signal;
use crate::sink::batch::Verdict;
use crate::sink::json::cut;
use crate::sink::transport::{HttpAnswer, HttpOut, gzip};
use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue};

/// Bytes of the receiver's own words that are kept.
const WORDS_MAX: usize = 256;

/// A way to one receiver.
pub(super) struct Post {
    /// The client.
    pub(super) http: HttpOut,
    /// What is sent.
    pub(super) signal: Signal,
    /// Whether bodies are packed.
    pub(super) gzip: bool,
}

impl Post {
    /// Posts a body of `n` records, or data points.
    pub(super) async fn send(&mut self, body: Vec<u8>, n: u64) -> Verdict {
        let mut headers: Vec<(HeaderName, HeaderValue)> =
            vec![(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"))];
        let body = match self.gzip {
            true => {
                headers.push((CONTENT_ENCODING, HeaderValue::from_static("gzip")));
                gzip(&body)
            }
            false => body,
        };
        let path = match self.http.url().path.as_str() {
            "" | "/" => self.signal.path().to_owned(),
            path => path.to_owned(),
        };
        match self.http.post(&path, &headers, Bytes::from(body)).await {
            Ok(answer) => verdict(self.signal, &answer, n),
            Err(e) => Verdict::away(&e),
        }
    }
}

fn verdict(signal: Signal, answer: &HttpAnswer, n: u64) -> Verdict {
    let said = || {
        let status = answer.status;
        let words = String::from_utf8_lossy(&answer.body);
        // A `google.rpc.Status` has its text in the clear between a few bytes of protobuf.
        let words: String = words.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        match cut(words.trim(), WORDS_MAX).0 {
            "" => format!("the receiver answered {status}"),
            words => format!("the receiver answered {status}: {words}"),
        }
    };
    match answer.status {
        200..=299 => match signal.refused(&answer.body) {
            // Its status is what counts; some answer with JSON, or with a page.
            None | Some((0, _)) => Verdict::Taken,
            Some((lost, why)) => {
                let lost = lost.min(n);
                Verdict::Rejected {
                    lost,
                    why: format!("the receiver refused {lost} of {n}: {}", cut(&why, WORDS_MAX).0),
                }
            }
        },
        // The only ones after which the same may be sent again.
        429 | 502 | 503 | 504 => Verdict::Later(answer.retry_after, said()),
        413 => Verdict::Halve(said()),
        _ => Verdict::Refused(said()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsPartialSuccess, ExportLogsServiceResponse};
    use opentelemetry_proto::tonic::collector::metrics::v1::{
        ExportMetricsPartialSuccess, ExportMetricsServiceResponse,
    };
    use opentelemetry_proto::tonic::collector::trace::v1::{ExportTracePartialSuccess, ExportTraceServiceResponse};
    use prost::Message;
    use std::time::Duration;

    fn of(signal: Signal, status: u16, retry_after: Option<u64>, body: impl Into<Bytes>) -> Verdict {
        let answer = HttpAnswer { status, retry_after: retry_after.map(Duration::from_secs), body: body.into() };
        verdict(signal, &answer, 5)
    }

    #[test]
    fn a_partial_success_is_counted_for_every_signal_and_never_repeated() {
        let words = || "too old".to_owned();
        let logs = ExportLogsServiceResponse {
            partial_success: Some(ExportLogsPartialSuccess { rejected_log_records: 3, error_message: words() }),
        };
        let metrics = ExportMetricsServiceResponse {
            partial_success: Some(ExportMetricsPartialSuccess { rejected_data_points: 3, error_message: words() }),
        };
        let traces = ExportTraceServiceResponse {
            partial_success: Some(ExportTracePartialSuccess { rejected_spans: 3, error_message: words() }),
        };
        let expected = Verdict::Rejected { lost: 3, why: "the receiver refused 3 of 5: too old".into() };
        assert_eq!(of(Signal::Logs, 200, None, logs.encode_to_vec()), expected);
        assert_eq!(of(Signal::Metrics, 200, None, metrics.encode_to_vec()), expected);
        assert_eq!(of(Signal::Traces, 200, None, traces.encode_to_vec()), expected);
        // A warning without a loss, more losses than records, nonsense.
        for (rejected, lost) in [(0, None), (-4, None), (99, Some(5))] {
            let partial = ExportLogsPartialSuccess { rejected_log_records: rejected, error_message: words() };
            let body = ExportLogsServiceResponse { partial_success: Some(partial) }.encode_to_vec();
            match (of(Signal::Logs, 200, None, body), lost) {
                (Verdict::Taken, None) => {}
                (Verdict::Rejected { lost: n, .. }, Some(lost)) => assert_eq!(n, lost),
                (got, _) => panic!("{rejected}: {got:?}"),
            }
        }
    }

    #[test]
    fn only_four_statuses_are_tried_again_and_the_receiver_says_when() {
        for status in [429, 502, 503, 504] {
            let why = format!("the receiver answered {status}: busy");
            assert_eq!(of(Signal::Logs, status, Some(2), "busy"), Verdict::Later(Some(Duration::from_secs(2)), why));
        }
        let unsaid = Verdict::Later(None, "the receiver answered 503".into());
        assert_eq!(of(Signal::Logs, 503, None, ""), unsaid);
        for status in [301, 400, 401, 403, 404, 500, 501] {
            assert!(matches!(of(Signal::Traces, status, Some(2), "no"), Verdict::Refused(_)), "{status}");
        }
        assert!(matches!(of(Signal::Logs, 413, None, ""), Verdict::Halve(_)));
        for body in ["", "{}", "<html>", "\u{1}"] {
            assert_eq!(of(Signal::Logs, 200, None, body), Verdict::Taken, "{body:?}");
        }
        let Verdict::Refused(why) = of(Signal::Logs, 400, None, vec![b'\n'; 5000]) else { panic!("refused") };
        assert_eq!(why, "the receiver answered 400");
    }
}
