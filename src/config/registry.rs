//! `[registry]`

use super::process::{RegistryLogin, RegistrySettings};
use crate::connector::Reference;
use crate::connector::document::Section;
use crate::connector::reference::whole;
use crate::registry::{SubjectNameStrategy, WITHOUT_CREDENTIALS};

pub(super) fn read(mut section: Section<'_>) -> Option<RegistrySettings> {
    let url = url(&mut section);
    let login = login(&mut section);
    let tls_ca = section.get("tls_ca").map(|entry| Reference::read_path(&entry));
    let strategies = SubjectNameStrategy::ALL.map(|strategy| (strategy.name(), strategy));
    let strategy = section.get("subject_name_strategy").map(|entry| entry.choice(&strategies));
    let register = section.get("register").map(|entry| entry.boolean());
    section.report_unknown();
    Some(RegistrySettings {
        url: url?,
        login: login?,
        tls_ca: whole(tls_ca)?,
        subject_name_strategy: strategy.unwrap_or(Some(SubjectNameStrategy::TopicRecordName))?,
        register: register.unwrap_or(Some(false))?,
    })
}

fn url(section: &mut Section<'_>) -> Option<String> {
    let entry = section.need("url", "\"http://localhost:8081\"")?;
    let url = entry.name()?;
    let Some(rest) = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://")) else {
        entry.fault("must begin with http:// or https://");
        return None;
    };
    if rest.split('/').next().is_some_and(|host| host.contains('@')) {
        entry.fault(WITHOUT_CREDENTIALS);
        return None;
    }
    Some(url.trim_end_matches('/').to_owned())
}

/// None after a fault; Some(None): nobody asks who we are.
fn login(section: &mut Section<'_>) -> Option<Option<RegistryLogin>> {
    let user = section.get("user").map(|entry| Reference::read(&entry));
    let password = section.get("password").map(|entry| Reference::read_secret(&entry));
    let token = section.get("token").map(|entry| Reference::read_secret(&entry));
    match (whole(user)?, whole(password)?, whole(token)?) {
        (None, None, None) => Some(None),
        (Some(user), Some(password), None) => Some(Some(RegistryLogin::Basic { user, password })),
        (None, None, Some(token)) => Some(Some(RegistryLogin::Bearer { token })),
        _ => {
            section.fault("has either `user` and `password`, or `token`");
            None
        }
    }
}
