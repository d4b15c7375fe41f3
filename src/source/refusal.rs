//! The server's ErrorResponse as an error of ours (Postgres docs, "Error and Notice Message Fields").

use crate::error::{Error, Kind};

/// What an ErrorResponse says, as far as it is used. Its detail and hint are left out: they may quote rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) sqlstate: String,
    pub(super) message: String,
}

/// What the server was doing; the same SQLSTATE means different things in different places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum During<'a> {
    /// Handshake, up to the first ReadyForQuery, as this user.
    Startup(&'a str),
    /// A command that concerns this slot.
    Slot(&'a str),
    /// The stream, reading this publication.
    Stream(&'a str),
    /// Any other command.
    Command,
}

impl Refusal {
    /// Reads the fields: a type byte and a C string each, ended by a zero.
    pub(super) fn parse(body: &[u8]) -> Refusal {
        let mut refusal = Refusal::default();
        for field in body.split(|byte| *byte == 0) {
            let Some((kind, text)) = field.split_first() else { break };
            let text = || String::from_utf8_lossy(text).into_owned();
            match kind {
                b'C' => refusal.sqlstate = text(),
                b'M' => refusal.message = text(),
                _ => {}
            }
        }
        refusal
    }

    /// The error, its kind chosen by SQLSTATE and place. Texts are looked at only where the code is not enough: a
    /// server with translated messages then gets the general kind.
    pub(super) fn into_error(self, during: During<'_>) -> Error {
        let kind = self.kind(during);
        let detail = match (kind, during) {
            // Whether it exists was asked before. The server looks it up in the catalog as of each change.
            (Kind::PublicationMissing, During::Stream(name)) => format!(
                "the publication {name:?} did not exist when the next change was made, and one that was created since does not count; name one in [source] publication that existed then"
            ),
            (Kind::Permission, During::Startup(user)) => format!(
                "the server said: {}; run ALTER ROLE {} REPLICATION",
                self.message,
                postgres_protocol::escape::escape_identifier(user)
            ),
            (Kind::SlotLost, During::Slot(slot)) => {
                format!("the slot {slot} is lost; the server said: {}", self.message)
            }
            _ => format!("the server said: {}", self.message),
        };
        Error::new(kind, detail)
    }

    fn kind(&self, during: During<'_>) -> Kind {
        match (self.sqlstate.as_str(), during) {
            ("42704", During::Slot(_)) => Kind::SlotMissing,
            ("42704", During::Stream(_)) => Kind::PublicationMissing,
            ("42710", During::Slot(_)) => Kind::SlotForeign,
            ("55000", _) => self.prerequisite(),
            (code, _) => Kind::of_sqlstate(code),
        }
    }

    /// `object_not_in_prerequisite_state`: slot.c, logical.c and walsender.c use it for five different things.
    fn prerequisite(&self) -> Kind {
        let says = |text: &str| self.message.contains(text);
        if says("can no longer") || says("exceeded the maximum reserved size") || says("invalidated") {
            Kind::SlotLost
        } else if says("wal_level") {
            Kind::ServerSetting
        } else if says("not created in this database") || says("physical replication slot") {
            Kind::SlotMismatch
        } else {
            Kind::PostgresRefused
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(sqlstate: &str, message: &str) -> Refusal {
        let body = format!("SFATAL\0VFATAL\0C{sqlstate}\0M{message}\0DKey (id)=(7)\0\0");
        Refusal::parse(body.as_bytes())
    }

    /// Faults: PG-22, PG-26.
    #[test]
    fn place_and_code_choose_the_kind() {
        let kind = |code, message, during| refusal(code, message).into_error(during).kind();
        let (slot, stream) = (During::Slot("s"), During::Stream("p"));
        assert_eq!(kind("55006", "replication slot \"s\" is active for PID 7", slot), Kind::SlotHeld);
        assert_eq!(kind("42704", "replication slot \"s\" does not exist", slot), Kind::SlotMissing);
        assert_eq!(kind("42704", "publication \"p\" does not exist", stream), Kind::PublicationMissing);
        assert_eq!(kind("42710", "replication slot \"s\" already exists", slot), Kind::SlotForeign);
        assert_eq!(kind("55000", "can no longer get changes from replication slot \"s\"", slot), Kind::SlotLost);
        assert_eq!(kind("55000", "logical decoding requires wal_level >= logical", slot), Kind::ServerSetting);
        assert_eq!(kind("55000", "replication slot \"s\" was not created in this database", slot), Kind::SlotMismatch);
        assert_eq!(kind("57P01", "terminating connection", stream), Kind::PostgresNotReady);
        assert_eq!(kind("3D000", "database \"x\" does not exist", During::Startup("u")), Kind::DatabaseMissing);
    }

    #[test]
    fn the_text_has_the_remedy_and_never_the_detail() {
        let error = refusal("42704", "publication \"p\" does not exist").into_error(During::Stream("p"));
        assert!(error.detail().starts_with("the publication \"p\" did not exist when the next change was made"));
        let error = refusal("42501", "must be superuser or replication role to start walsender");
        assert_eq!(
            error.into_error(During::Startup("oms")).detail(),
            "the server said: must be superuser or replication role to start walsender; run ALTER ROLE \"oms\" REPLICATION"
        );
        assert!(!refusal("XX000", "oops").into_error(During::Command).chain().contains("(7)"));
    }
}
