//! The calls about a share, one attempt each (API.md, section 5). Knows `wire`; decides nothing.
//!
//! Threads: any. No locks.

use std::time::{Instant, SystemTime};

use super::caller::{Call, payload};
use super::convert::{self, Moment, Rows, Share};
use super::error::CallError;
use super::page_size::SMALL;
use super::question::Question;
use super::service::Service;
use super::wire::{
    DownloadRequest, Envelope, FilesAnswer, FilesRequest, UserInfoAnswer, VerifyAnswer, VerifyRequest, to_json,
};
use crate::config::Secret;
use crate::remote::{Child, Cursor, Link, NodeId, Page};

/// Sort by name: moves least while a directory changes (14).
pub(super) const SORT_BY_NAME: u32 = 1;

/// The paths of one edition's calls.
struct Paths {
    user_info: &'static str,
    verify: &'static str,
    files: &'static str,
    download: &'static str,
}

const PUBLIC: Paths = Paths {
    user_info: "/koodrive/ose/v1/share/public/userInfo",
    verify: "/koodrive/ose/v1/share/public/verify",
    files: "/koodrive/ose/v1/share/public/files",
    download: "/koodrive/ose/v1/share/public/download",
};

/// The twins of the enterprise edition (5.8).
const WITH_LOGIN: Paths = Paths {
    user_info: "/koodrive/ose/v1/share/userInfo",
    verify: "/koodrive/ose/v1/share/verify",
    files: "/koodrive/ose/v1/share/files",
    download: "/koodrive/ose/v1/share/download",
};

/// Calls the service about one share.
pub(super) struct ShareCalls {
    service: Service,
    paths: &'static Paths,
    short_code: String,
    /// What is struck out of messages, besides the token of the call.
    access_code: Option<Secret>,
}

impl ShareCalls {
    /// About the share `short_code`, public or with a login as `service` is.
    pub(super) fn new(service: Service, short_code: &str, access_code: Option<&Secret>) -> ShareCalls {
        let paths = match service {
            Service::Public { .. } => &PUBLIC,
            Service::Account(_) => &WITH_LOGIN,
        };
        ShareCalls { service, paths, short_code: short_code.to_owned(), access_code: access_code.cloned() }
    }

    pub(super) fn service(&self) -> &Service {
        &self.service
    }

    /// What the service's clock shows now, as far as known.
    pub(super) fn server_now(&self) -> SystemTime {
        self.service.caller().server_now()
    }

    /// 5.2.
    pub(super) fn user_info(&self, deadline: Instant) -> Result<Share, CallError> {
        let query = [("shortUrl", self.short_code.as_str())];
        let call = Call {
            name: "userInfo",
            path: self.paths.user_info,
            query: &query,
            payload_keys: &["link"],
            ..Call::default()
        };
        let (envelope, _) = self.call(call, "", deadline)?;
        let answer: UserInfoAnswer = payload(envelope)?;
        let link = answer.link.ok_or_else(|| CallError::missing("link"))?;
        convert::share(link).map_err(CallError::Bad)
    }

    /// 5.3: the access code's temporary token, in the place of `kdstoken`.
    pub(super) fn verify(
        &self,
        access_code: &Secret,
        kdstoken: &Secret,
        deadline: Instant,
    ) -> Result<Secret, CallError> {
        let body = to_json(&VerifyRequest { short_url: &self.short_code, extract_code: access_code.expose() });
        let call = Call {
            name: "verify",
            path: self.paths.verify,
            body: Some(&body),
            payload_keys: &["kdstoken"],
            ..Call::default()
        };
        let (envelope, _) = self.call(call, kdstoken.expose(), deadline)?;
        let answer: VerifyAnswer = payload(envelope)?;
        let token = convert::text(answer.kdstoken, "kdstoken").map_err(CallError::Bad)?;
        token.filter(|token| !token.is_empty()).map(Secret::new).ok_or_else(|| CallError::missing("kdstoken"))
    }

    /// 5.4: a page of `folder`, or of the top level, by name or from the last name on, and what it says about the share.
    pub(super) fn files(
        &self,
        folder: Option<&NodeId>,
        cursor: Option<&Cursor>,
        is_descending: bool,
        kdstoken: &Secret,
        deadline: Instant,
    ) -> Result<(Page, Option<Share>), CallError> {
        let question = Question { directory: folder, cursor, page_size: SMALL, is_descending, name: None };
        let listed = self.list(question, kdstoken, deadline);
        let (rows, share) = listed.map_err(|error| error.of_page(cursor))?;
        Ok((rows.into_page(), share))
    }

    /// 5.4: the entry called `name` in `folder`, if the service looks for names.
    pub(super) fn named(
        &self,
        folder: &NodeId,
        name: &str,
        kdstoken: &Secret,
        deadline: Instant,
    ) -> Result<Child, CallError> {
        let question = Question { directory: Some(folder), name: Some(name), page_size: SMALL, ..Question::default() };
        let (rows, _) = self.list(question, kdstoken, deadline)?;
        Ok(rows.child(name, |parent| parent == folder.as_str()))
    }

    fn list(
        &self,
        question: Question<'_>,
        kdstoken: &Secret,
        deadline: Instant,
    ) -> Result<(Rows, Option<Share>), CallError> {
        let (envelope, moment) = self.asked(question, kdstoken, deadline)?;
        let mut answer: FilesAnswer = payload(envelope)?;
        // Only informative here: no reason to fail a listing.
        let share = answer.link.take().and_then(|link| convert::share(link).ok());
        Ok((convert::rows(answer, moment).map_err(CallError::Bad)?, share))
    }

    /// 5.4, the answer as it is.
    pub(super) fn asked(
        &self,
        question: Question<'_>,
        kdstoken: &Secret,
        deadline: Instant,
    ) -> Result<(Envelope, Moment), CallError> {
        let kdstoken = kdstoken.expose();
        let body = to_json(&FilesRequest {
            short_url: &self.short_code,
            parent_folder: question.directory.map(NodeId::as_str),
            page_size: question.page_size,
            page_cursor: question.cursor.map(Cursor::as_str),
            sort_type: SORT_BY_NAME,
            sort_direction: question.direction(),
            kdstoken,
            refresh_count: false,
            file_name: question.name,
        });
        let call = Call {
            name: "files",
            path: self.paths.files,
            body: Some(&body),
            payload_keys: &["files"],
            ..Call::default()
        };
        self.call(call, kdstoken, deadline)
    }

    /// 5.5.
    pub(super) fn download(
        &self,
        share_id: &NodeId,
        file: &NodeId,
        kdstoken: &Secret,
        deadline: Instant,
    ) -> Result<Link, CallError> {
        let kdstoken = kdstoken.expose();
        let body = to_json(&DownloadRequest { share_id: share_id.as_str(), file_id: file.as_str(), kdstoken });
        let call = Call {
            name: "download",
            path: self.paths.download,
            body: Some(&body),
            payload_keys: &["downloadUrl"],
            ..Call::default()
        };
        let (envelope, moment) = self.call(call, kdstoken, deadline)?;
        convert::fresh_link(payload(envelope)?, moment).map_err(CallError::Bad)
    }

    fn call(&self, call: Call<'_>, kdstoken: &str, deadline: Instant) -> Result<(Envelope, Moment), CallError> {
        let access_code = self.access_code.as_ref().map_or("", Secret::expose);
        let secrets = [self.short_code.as_str(), access_code, kdstoken];
        self.service.call(&Call { secrets: &secrets, ..call }, deadline)
    }
}
