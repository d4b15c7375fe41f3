//! What a registry answered: an id, a refusal in its own words, or something that no registry says.

use serde::Deserialize;

use crate::error::{Error, Kind, Result};

/// How much of an answer that was not understood is shown.
const SHOWN_CHARS: usize = 200;

/// Status and body of an answer.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: String,
}

/// The error body of Confluent's API.
#[derive(Deserialize)]
struct Refusal {
    error_code: i64,
    message: String,
}

#[derive(Deserialize)]
struct Id {
    id: u32,
}

impl Answer {
    /// The id of a schema; `what` says what was asked for, with the subject.
    pub(super) fn id(&self, what: &str) -> Result<u32> {
        self.accepted(what)?;
        match serde_json::from_str::<Id>(&self.body) {
            Ok(Id { id }) => Ok(id),
            Err(_) => Err(self.not_understood(what)),
        }
    }

    /// Whether the registry did what it was asked for.
    pub(super) fn accepted(&self, what: &str) -> Result<()> {
        let refusal = serde_json::from_str::<Refusal>(&self.body).ok();
        match (self.status, refusal) {
            (200..300, _) => Ok(()),
            // Passing: the registry is starting, overloaded, or without a leader.
            (408 | 429 | 500.., Some(Refusal { message, .. })) => {
                let said = format!("{what}: the registry answered {}: {message}", self.status);
                Err(Error::new(Kind::RegistryUnreachable, said))
            }
            (401 | 403, _) => {
                let said = format!("{what}: the registry refused the credentials ({})", self.status);
                Err(Error::new(Kind::RegistryAuthorization, said))
            }
            (400..500, Some(refusal)) => Err(refused(what, &refusal)),
            _ => Err(self.not_understood(what)),
        }
    }

    fn not_understood(&self, what: &str) -> Error {
        let shown: String = self.body.chars().filter(|c| !c.is_control()).take(SHOWN_CHARS).collect();
        let status = self.status;
        let said = format!("{what}: what answers there is no schema registry: status {status}, body '{shown}'");
        Error::new(Kind::RegistryUnreachable, said)
    }
}

fn refused(what: &str, refusal: &Refusal) -> Error {
    // 40401: no such subject, 40402: no such version, 40403: no such schema (Confluent, "Schema Registry API", errors).
    let advice = match refusal.error_code {
        404 | 40401..=40403 => "; push it with walwright schemas push",
        _ => "",
    };
    Error::new(Kind::RegistryRefused, format!("{what}: the registry said: {}{advice}", refusal.message))
}
