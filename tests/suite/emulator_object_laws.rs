//! Laws of the emulator's links and objects: which requests are refused, and how ranges and conditions are answered, as OBS does.

use std::time::Duration;

use serde_json::{Value, json};

use crate::emulator::sign::{self, LinkStyle};
use crate::emulator::{Content, Replacement, pattern};
use crate::emulator_laws::{Bench, header, target, xml_code};

// ---- links ----

#[test]
fn v4_signature_matches_the_published_aws_example() {
    // AWS, "Authenticating Requests: Using Query Parameters", example of a presigned GET.
    let query = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request\
                 &X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host";
    let host = "examplebucket.s3.amazonaws.com";
    let to_sign = sign::v4_string_to_sign("GET", "/test.txt", query, host, "20130524T000000Z", "us-east-1", "s3");
    let key = sign::v4_signing_key("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "20130524", "us-east-1", "s3");
    assert_eq!(
        sign::hex(&sign::hmac_sha256(&key, to_sign.as_bytes())),
        "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
    );
}

#[test]
fn v4_link_has_the_parameters_of_the_documented_sample_in_its_order() {
    let bench = Bench::new();
    let id = bench.file("发票1.pdf", 10);
    let link = bench.link(&id);
    let (_, query) = link.split_once('?').expect("a query");
    assert!(
        query.starts_with(
            "response-content-disposition=attachment%3B%20filename%3D%22%25E5%258F%2591%25E7%25A5%25A81.pdf%22&"
        ),
        "{query}"
    );
    let names: Vec<&str> = query.split('&').map(|pair| pair.split('=').next().expect("a name")).collect();
    assert_eq!(
        names,
        [
            "response-content-disposition",
            "X-Amz-Algorithm",
            "X-Amz-Date",
            "X-Amz-SignedHeaders",
            "X-Amz-Expires",
            "X-Amz-Credential",
            "X-Amz-Signature"
        ]
    );
    let response = bench.get(&link, &[]);
    assert_eq!(header(&response, "content-disposition"), "attachment; filename=\"%E5%8F%91%E7%A5%A81.pdf\"");
}

#[test]
fn link_of_every_style_yields_the_object_and_dies_with_its_lifetime() {
    let bench = Bench::new();
    let id = bench.file("a.bin", 100_000);
    for style in [LinkStyle::V4, LinkStyle::ObsV2, LinkStyle::S3V2, LinkStyle::Opaque] {
        bench.emulator.knobs(|k| {
            k.link_style = style;
            k.link_lifetime = Duration::from_secs(60);
            k.clock_offset_seconds = 0;
        });
        let link = bench.link(&id);
        let response = bench.get(&link, &[]);
        assert_eq!(response.status(), 200, "{style:?}");
        assert_eq!(response.bytes().expect("a body"), bench.emulator.tree().expected(&id, 0, 100_000), "{style:?}");
        bench.emulator.knobs(|k| k.clock_offset_seconds = 58);
        assert_eq!(bench.get_range(&link, "bytes=0-9").status(), 206, "{style:?}: alive before its end");
        bench.emulator.knobs(|k| k.clock_offset_seconds = 62);
        let refused = bench.get(&link, &[]);
        assert_eq!(refused.status(), 403, "{style:?}");
        let text = refused.text().expect("a body");
        assert!(text.contains("<Code>AccessDenied</Code><Message>Request has expired</Message>"), "{text}");
        assert!(text.contains("<ServerTime>"), "{text}");
        bench.emulator.knobs(|k| k.clock_offset_seconds = 0);
        let spoilt = format!("{}{}", &link[..link.len() - 1], if link.ends_with('0') { "1" } else { "0" });
        assert_eq!(xml_code(bench.get(&spoilt, &[])), (403, "SignatureDoesNotMatch".to_owned()), "{style:?}");
    }
}

#[test]
fn reencoded_link_is_refused() {
    let bench = Bench::new();
    let id = bench.file("a file+b.txt", 10);
    let link = bench.link(&id);
    let path = target(&link);
    let (before, query) = path.split_once('?').expect("a query");
    let mut pairs: Vec<&str> = query.split('&').collect();
    pairs.reverse();
    let variants = [
        path.replacen("%2F", "/", 1),
        path.replacen("%2F", "%2f", 1),
        path.replacen("%20", "+", 1),
        path.replace("%25", "%"),
        path.replacen("a%2520file", "a%20file", 1),
        path.replacen("X-Amz", "x-amz", 1),
        format!("{path}&"),
        format!("{path}&a=b"),
        format!("{before}?{}", pairs.join("&")),
        path.replacen("/koodrive", "//koodrive", 1),
        path.replacen("X-Amz-Expires=3600", "X-Amz-Expires=7200", 1),
        path.replacen("X-Amz-Expires=3600", "X-Amz-Expires=03600", 1),
        path.replacen(".txt", "%2Etxt", 1),
    ];
    for variant in variants {
        assert_ne!(variant, path, "the variant does not vary");
        let request =
            format!("GET {variant} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", bench.emulator.object_host());
        let (answer, _) = bench.raw_objects(&request);
        let text = String::from_utf8_lossy(&answer);
        assert!(text.starts_with("HTTP/1.1 403 ") && text.contains("SignatureDoesNotMatch"), "{variant}\n{text}");
    }
    let good = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", bench.emulator.object_host());
    assert!(bench.raw_objects(&good).0.starts_with(b"HTTP/1.1 200 "));
}

#[test]
fn v4_link_sent_to_another_host_name_is_refused() {
    let bench = Bench::new();
    let id = bench.file("a.bin", 10);
    let link = bench.link(&id);
    let port = bench.emulator.object_host().rsplit(':').next().expect("a port");
    let request = format!("GET {} HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n", target(&link));
    let (answer, _) = bench.raw_objects(&request);
    assert!(String::from_utf8_lossy(&answer).contains("SignatureDoesNotMatch"));
}

#[test]
fn revoked_links_are_refused_and_new_ones_work() {
    let bench = Bench::new();
    let id = bench.file("a.bin", 10);
    let old = bench.link(&id);
    bench.emulator.revoke_links();
    assert_eq!(xml_code(bench.get(&old, &[])), (403, "InvalidAccessKeyId".to_owned()));
    assert_eq!(bench.get(&bench.link(&id), &[]).status(), 200);
}

#[test]
fn unsigned_request_is_refused() {
    let bench = Bench::new();
    let id = bench.file("a.bin", 10);
    let link = bench.link(&id);
    let bare = link.split('?').next().expect("a path");
    assert_eq!(xml_code(bench.get(bare, &[])), (403, "AccessDenied".to_owned()));
}

#[test]
fn head_on_a_get_link_is_refused() {
    let bench = Bench::new();
    let id = bench.file("a.bin", 10);
    let response = bench.http.head(bench.link(&id)).send().expect("an answer");
    assert_eq!(response.status(), 403);
}

#[test]
fn any_method_but_get_is_not_allowed_by_the_store() {
    let bench = Bench::new();
    let id = bench.file("a.bin", 10);
    for method in [reqwest::Method::PUT, reqwest::Method::POST, reqwest::Method::DELETE, reqwest::Method::OPTIONS] {
        let response = bench.http.request(method, bench.link(&id)).send().expect("an answer");
        assert_eq!(xml_code(response), (405, "MethodNotAllowed".to_owned()));
    }
}

#[test]
fn secret_sent_to_the_store_is_refused_and_counted() {
    let bench = Bench::new();
    let id = bench.file("a.bin", 10);
    let link = bench.link(&id);
    for name in ["Authorization", "Cookie", "X-Hw-Agentname"] {
        assert_eq!(bench.get(&link, &[(name, "x")]).status(), 400, "{name}");
    }
    assert_eq!(bench.emulator.counters().secret_leaks, 3);
}

#[test]
fn thumbnail_link_comes_first_and_leads_to_other_bytes() {
    let bench = Bench::new();
    let id = bench.file("a.jpg", 2000);
    let (entries, _) = bench.list(&json!({}));
    let links = entries[0]["downloadLinks"].as_array().expect("links");
    assert_eq!(links[0]["usage"], "thumbnail");
    assert_eq!(links[1]["usage"], "content");
    let right = bench.emulator.tree().expected(&id, 0, 2000);
    let bytes = |link: &Value| bench.get(link["downloadLink"].as_str().expect("a link"), &[]).bytes().expect("a body");
    assert_ne!(bytes(&links[0]), right);
    assert_eq!(bytes(&links[1]), right);
}

// ---- objects ----

#[test]
fn one_byte_range_yields_the_whole_object_unless_the_knob_says_otherwise() {
    let bench = Bench::new();
    let id = bench.file("a.bin", 1000);
    let link = bench.link(&id);
    let response = bench.get_range(&link, "bytes=5-5");
    assert_eq!((response.status().as_u16(), response.bytes().expect("a body").len()), (200, 1000));
    bench.emulator.knobs(|k| k.strict_one_byte_ranges = false);
    let response = bench.get_range(&link, "bytes=5-5");
    assert_eq!((response.status().as_u16(), header(&response, "content-range")), (206, "bytes 5-5/1000"));
    assert_eq!(response.bytes().expect("a body"), bench.emulator.tree().expected(&id, 5, 1));
}

#[test]
fn range_is_answered_as_obs_documents() {
    let bench = Bench::new();
    let id = bench.file("a.bin", 1000);
    let link = bench.link(&id);
    let cases: &[(&str, u16, &str)] = &[
        ("bytes=0-9", 206, "bytes 0-9/1000"),
        ("bytes=0-999", 206, "bytes 0-999/1000"),
        ("bytes=990-2000", 206, "bytes 990-999/1000"),
        ("bytes=999-1000", 206, "bytes 999-999/1000"),
        ("bytes=999-", 206, "bytes 999-999/1000"),
        ("bytes=500-", 206, "bytes 500-999/1000"),
        ("bytes=-10", 206, "bytes 990-999/1000"),
        ("bytes=-5000", 206, "bytes 0-999/1000"),
        ("bytes=1000-", 416, "bytes */1000"),
        ("bytes=1000-1001", 416, "bytes */1000"),
        ("bytes=-0", 416, "bytes */1000"),
        ("bytes=9-5", 200, ""),
        ("bytes=-5-9", 200, ""),
        ("bytes=a-b", 200, ""),
        ("bytes=", 200, ""),
        ("bytes=5", 200, ""),
        ("bytes 0-9", 200, ""),
        ("octets=0-9", 200, ""),
        ("bytes=0-99999999999999999999999", 200, ""),
    ];
    for (range, status, content_range) in cases {
        let response = bench.get_range(&link, range);
        assert_eq!(response.status().as_u16(), *status, "{range}");
        assert_eq!(header(&response, "content-range"), *content_range, "{range}");
        let body = response.bytes().expect("a body");
        if *status == 206 {
            let first: u64 = content_range[6..].split('-').next().expect("first").parse().expect("a number");
            assert_eq!(body, bench.emulator.tree().expected(&id, first, body.len()), "{range}");
        }
        if *status == 200 {
            assert_eq!(body.len(), 1000, "{range}");
        }
    }
}

#[test]
fn any_range_of_an_empty_object_is_unsatisfiable() {
    let bench = Bench::new();
    let id = bench.file("empty", 0);
    let link = bench.link(&id);
    for range in ["bytes=0-9", "bytes=0-", "bytes=-5"] {
        assert_eq!(xml_code(bench.get_range(&link, range)), (416, "InvalidRange".to_owned()), "{range}");
    }
    let whole = bench.get(&link, &[]);
    assert_eq!((whole.status().as_u16(), whole.bytes().expect("a body").len()), (200, 0));
}

#[test]
fn several_ranges_come_as_multipart() {
    let bench = Bench::new();
    let id = bench.file("a.bin", 1000);
    let response = bench.get_range(&bench.link(&id), "bytes=0-3,10-13");
    assert_eq!(response.status(), 206);
    assert!(header(&response, "content-type").starts_with("multipart/byteranges; boundary="));
    let body = response.bytes().expect("a body");
    for (first, range) in [(0, "bytes 0-3/1000"), (10, "bytes 10-13/1000")] {
        let mut part = format!("Content-Range: {range}\r\n\r\n").into_bytes();
        part.extend(bench.emulator.tree().expected(&id, first, 4));
        assert!(body.windows(part.len()).any(|window| window == part), "{range}");
    }
}

#[test]
fn object_answer_carries_the_version_of_the_whole_object() {
    let bench = Bench::new();
    let id = bench.file("a.bin", 1000);
    let link = bench.link(&id);
    let whole = bench.get(&link, &[]);
    let part = bench.get_range(&link, "bytes=10-19");
    let etag = header(&whole, "etag");
    assert!(etag.len() > 2 && etag.starts_with('"') && etag.ends_with('"'), "{etag}");
    assert_eq!(etag, header(&part, "etag"));
    assert_eq!(header(&part, "accept-ranges"), "bytes");
    assert_eq!(header(&part, "content-type"), "binary/octet-stream");
    assert_eq!(header(&part, "content-length"), "10");
    assert_eq!(header(&part, "last-modified"), "Thu, 01 May 2025 08:00:00 GMT");
    assert!(!header(&part, "date").is_empty() && !header(&part, "x-obs-request-id").is_empty());
}

#[test]
fn condition_that_fails_is_412_and_one_that_is_current_is_304() {
    let bench = Bench::new();
    let id = bench.file("a.bin", 1000);
    let link = bench.link(&id);
    let etag = header(&bench.get(&link, &[]), "etag").to_owned();
    let status = |headers: &[(&str, &str)]| bench.get(&link, headers).status().as_u16();
    assert_eq!(status(&[("If-Match", &etag), ("Range", "bytes=0-9")]), 206);
    assert_eq!(status(&[("If-Match", "\"other\""), ("Range", "bytes=0-9")]), 412);
    assert_eq!(status(&[("If-None-Match", &etag)]), 304);
    assert_eq!(status(&[("If-None-Match", "\"other\"")]), 200);
    assert_eq!(status(&[("If-Modified-Since", "Thu, 01 May 2025 08:00:00 GMT")]), 304);
    assert_eq!(status(&[("If-Unmodified-Since", "Thu, 01 May 2025 07:00:00 GMT")]), 412);
    assert_eq!(status(&[("If-Range", "\"other\""), ("Range", "bytes=0-9")]), 200);
    bench.emulator.tree().replace(&id, Content::Pattern(1000), Replacement::SameObject);
    assert_eq!(status(&[("If-Match", &etag), ("Range", "bytes=0-9")]), 412);
}

#[test]
fn request_that_allows_compression_loses_its_range() {
    let bench = Bench::new();
    let id = bench.file("a.bin", 1000);
    let link = bench.link(&id);
    let whole = bench.get(&link, &[("Accept-Encoding", "gzip, deflate"), ("Range", "bytes=0-9")]);
    assert_eq!((whole.status().as_u16(), whole.bytes().expect("a body").len()), (200, 1000));
    assert_eq!(bench.get(&link, &[("Accept-Encoding", "identity"), ("Range", "bytes=0-9")]).status(), 206);
    let counters = bench.emulator.counters();
    assert_eq!((counters.compressible, counters.ranges_ignored), (1, 1));
}

#[test]
fn pattern_differs_between_files_versions_and_offsets() {
    let bench = Bench::new();
    let tree = bench.emulator.tree();
    let a = bench.file("a", 1 << 40);
    let b = bench.file("b", 1 << 40);
    let first = tree.expected(&a, 0, 64);
    assert_ne!(first, tree.expected(&b, 0, 64));
    for shift in [1, 4096, 65_536, 1 << 20, 4 << 20, 1 << 30, 1 << 32] {
        assert_ne!(first, tree.expected(&a, shift, 64), "{shift}");
    }
    tree.replace(&a, Content::Pattern(1 << 40), Replacement::SameObject);
    assert_ne!(first, tree.expected(&a, 0, 64));
}

#[test]
fn slice_of_the_pattern_agrees_with_the_bytes_around_a_period() {
    for offset in [0, pattern::PERIOD - 3, 5 * pattern::PERIOD - 1, u64::MAX / 2] {
        let long = pattern::expected(7, offset, 3_000_000);
        assert_eq!(long[1_000_000..1_000_100], pattern::expected(7, offset + 1_000_000, 100));
        assert_eq!(long[2_999_990..], pattern::expected(7, offset + 2_999_990, 10));
    }
}

#[test]
fn range_far_inside_a_huge_object_is_right() {
    let bench = Bench::new();
    let size = 200 << 30;
    let id = bench.file("huge", size);
    let first = (150_u64 << 30) + 12_345;
    let response = bench.get_range(&bench.link(&id), &format!("bytes={first}-{}", first + 2_999_999));
    assert_eq!(response.status(), 206);
    assert_eq!(response.bytes().expect("a body"), bench.emulator.tree().expected(&id, first, 3_000_000));
}
