use super::*;

/// A file, and every problem of it: place, code, words.
type Row = (&'static str, &'static [&'static str]);

const FILES: &[Row] = &[
    // T87, T88, T89.
    ("routes: [{paths: [/foo//bar]}]", &["2:19 bad-value `routes[0].paths[0]`: must not have empty segments"]),
    (
        "routes: [{paths: [/a/./b]}]",
        &["2:19 bad-value `routes[0].paths[0]`: non-normalized path, consider use '/a/b' instead"],
    ),
    (
        "routes: [{protocols: [http]}]",
        &[
            "2:10 bad-value `routes[0]`: must set one of 'methods', 'hosts', 'headers', 'paths' when 'protocols' is 'http'",
        ],
    ),
    // T268, T269.
    ("services:\n- name: a", &["3:3 missing-key `services[0].host`: required field missing"]),
    (
        "services:\n- host: h\n  port: 99999\n  protocol: foo\n  path: /foo//bar/",
        &[
            "4:9 bad-value `services[0].port`: value should be between 0 and 65535",
            "5:13 bad-value `services[0].protocol`: expected one of: grpc, grpcs, http, https, tcp, tls, tls_passthrough, udp",
            "6:9 bad-value `services[0].path`: must not have empty segments",
        ],
    ),
    // T270 to T273.
    (
        "routes: [{paths: [/], service: nope}]",
        &[
            "2:32 unknown-reference `routes[0].service`: invalid reference 'service: nope' (no such entry in 'services')",
        ],
    ),
    (
        "services:\n- {name: foo, host: h}\n- {name: foo, host: h}",
        &[
            "4:10 conflict `services[1].name`: uniqueness violation: 'services' entity with name set to 'foo' already declared; first on line 3",
        ],
    ),
    (
        "consumers:\n- {username: a, custom_id: x}\n- {username: b, custom_id: x}",
        &[
            "4:28 conflict `consumers[1].custom_id`: uniqueness violation: 'consumers' entity with custom_id set to 'x' already declared; first on line 3",
        ],
    ),
    ("plugins: [{name: foo}]", &["2:18 bad-value `plugins[0].name`: plugin 'foo' not enabled"]),
    // Types.
    (
        "services: {host: h}\nconsumers: [a]\n_transform: 1\n_comment: 5",
        &[
            "2:11 wrong-type `services`: expected an array",
            "3:13 wrong-type `consumers[0]`: expected a record",
            "4:13 wrong-type `_transform`: expected a boolean",
            "5:11 wrong-type `_comment`: expected a string",
        ],
    ),
    (
        "services: [{host: 5, port: '80', retries: 1.5, enabled: 'true', tags: a, nmae: x}]",
        &[
            "2:19 wrong-type `services[0].host`: expected a string",
            "2:28 wrong-type `services[0].port`: expected an integer",
            "2:43 wrong-type `services[0].retries`: expected an integer",
            "2:57 wrong-type `services[0].enabled`: expected a boolean",
            "2:71 wrong-type `services[0].tags`: expected a set",
            "2:74 unknown-key `services[0].nmae`: unknown field, did you mean `name`?",
        ],
    ),
    (
        "services: [{name: 'a b', host: 'h:80', path: x, tags: ['a,b'], connect_timeout: 0, id: 7-7}]",
        &[
            "2:19 bad-value `services[0].name`: invalid value 'a b': the only accepted ascii characters are alphanumerics or ., -, _, and ~",
            "2:32 bad-value `services[0].host`: must not have a port",
            "2:46 bad-value `services[0].path`: should start with: /",
            "2:56 bad-value `services[0].tags[0]`: invalid tag 'a,b': expected printable ascii (except `,` and `/`) or valid utf-8 sequences",
            "2:81 bad-value `services[0].connect_timeout`: value should be between 1 and 2147483646",
            "2:88 bad-value `services[0].id`: expected a valid UUID",
        ],
    ),
    // Fields that exclude each other.
    (
        "services:\n- {host: h, protocol: grpc, path: /x}\n- {host: h, tls_verify: true}\n- {url: h}\n- {url: 'http://h', port: 5}",
        &[
            "3:29 bad-value `services[0].path`: value must be null (failed conditional validation given value of field 'protocol')",
            "4:13 bad-value `services[1].tls_verify`: value must be null (failed conditional validation given value of field 'protocol')",
            "5:9 bad-value `services[2].url`: missing host in url",
            "6:4 doubtful `services[3].url` says what `port` says too, and wins",
        ],
    ),
    (
        "routes:\n- {protocols: [http, tcp], paths: [/]}\n- {protocols: [grpc], paths: [/], strip_path: true, methods: [GET]}\n- {protocols: [tls_passthrough]}\n- {paths: [/], sources: [{ip: 1.2.3.4/40, port: 70000}]}\n- {protocols: [tcp], paths: [/]}\n- {expression: x, paths: [/]}",
        &[
            "3:4 bad-value `routes[0].protocols`: these sets are mutually exclusive: ('http', 'https'), ('tcp', 'tls', 'udp'), ('tls_passthrough'), ('grpc', 'grpcs')",
            "4:35 bad-value `routes[1].strip_path`: cannot set 'strip_path' when 'protocols' is 'grpc' or 'grpcs'",
            "4:53 bad-value `routes[1].methods`: cannot set 'methods' when 'protocols' is 'grpc' or 'grpcs'",
            "5:3 bad-value `routes[2]`: must set snis when 'protocols' is 'tls_passthrough'",
            "6:16 bad-value `routes[3].sources`: cannot set 'sources' when 'protocols' is 'http' or 'https'",
            "6:31 bad-value `routes[3].sources[0].ip`: invalid ip or cidr range: '1.2.3.4/40'",
            "6:49 bad-value `routes[3].sources[0].port`: value should be between 0 and 65535",
            "7:3 bad-value `routes[4]`: must set one of 'sources', 'destinations', 'snis' when 'protocols' is 'tcp, tls, udp'",
            "7:22 bad-value `routes[4].paths`: cannot set 'paths' when 'protocols' is 'tcp', 'tls' or 'udp'",
            "8:4 not-supported `routes[5].expression`: routes by expression are not supported yet",
        ],
    ),
    (
        "routes: [{methods: [get], hosts: ['*.a.*', 'a.*.b', 'h/x'], paths: [x, '~x', '~/(', '/%zz'], headers: {host: [a], b: c}, https_redirect_status_code: 303}]",
        &[
            "2:21 bad-value `routes[0].methods[0]`: invalid value: get",
            "2:35 bad-value `routes[0].hosts[0]`: invalid wildcard: must have at most one wildcard",
            "2:44 bad-value `routes[0].hosts[1]`: invalid wildcard: must be placed at leftmost or rightmost label",
            "2:53 bad-value `routes[0].hosts[2]`: invalid value: h/x",
            "2:69 bad-value `routes[0].paths[0]`: should start with: / (fixed path) or ~/ (regex path)",
            "2:72 bad-value `routes[0].paths[1]`: should start with: / (fixed path) or ~/ (regex path)",
            "2:78 bad-value `routes[0].paths[2]`: invalid regex: '/(' (unclosed group)",
            "2:85 bad-value `routes[0].paths[3]`: invalid url-encoded value: '/%zz'",
            "2:104 bad-value `routes[0].headers.host`: cannot contain 'host' header, which must be specified in the 'hosts' attribute",
            "2:118 wrong-type `routes[0].headers.b`: expected an array",
            "2:150 bad-value `routes[0].https_redirect_status_code`: expected one of: 426, 301, 302, 307, 308",
        ],
    ),
    // Consumers and credentials; a key is never repeated.
    (
        "consumers:\n- tags: [a]\n- username: b\n  keyauth_credentials: [{key: s3}, {key: s3}, {key: 12}]\n  jwt_secrets: [{algorithm: RS256}, {algorithm: HS1}]\n  acls: [{group: g}, {group: g}]\nkeyauth_credentials: [{key: other}]",
        &[
            "3:3 bad-value `consumers[0]`: at least one of these fields must be non-empty: 'custom_id', 'username'",
            "5:42 conflict `consumers[1].keyauth_credentials[1].key`: uniqueness violation: 'keyauth_credentials' entity with key set to '…' already declared; first on line 5",
            "5:53 wrong-type `consumers[1].keyauth_credentials[2].key`: expected a string",
            "6:18 missing-key `consumers[1].jwt_secrets[0].rsa_public_key`: required field missing (failed conditional validation given value of field 'algorithm')",
            "6:49 bad-value `consumers[1].jwt_secrets[1].algorithm`: expected one of: HS256, HS384, HS512, RS256, RS384, RS512, ES256, ES384, ES512, PS256, PS384, PS512, EdDSA",
            "7:30 conflict `consumers[1].acls[1]`: uniqueness violation: 'acls' entity with group set to 'g' already declared for the same consumer; first on line 7",
            "8:23 missing-key `keyauth_credentials[0].consumer`: required field missing",
        ],
    ),
    // Plugins.
    (
        "consumers:\n- username: c\n  plugins: [{name: cors}]\nplugins:\n- {name: key-auht}\n- {name: openid-connect}\n- {name: post-function}\n- {name: http-log, config: {custom_fields_by_lua: {a: return 1}}}\n- {name: acl, consumer: x}\n- {name: statsd, config: 5}\n- {name: statsd}",
        &[
            "4:20 bad-value `consumers[0].plugins[0].consumer`: value must be null",
            "6:10 bad-value `plugins[0].name`: plugin 'key-auht' not enabled",
            "7:10 bad-value `plugins[1].name`: plugin 'openid-connect' not enabled",
            "8:10 not-supported `plugins[2].name`: post-function runs Lua, which Fourmi does not",
            "9:29 not-supported `plugins[3].config.custom_fields_by_lua`: Fourmi runs no Lua",
            "10:15 bad-value `plugins[4].consumer`: value must be null",
            "11:26 wrong-type `plugins[5].config`: expected a record",
            "12:10 conflict `plugins[6]`: uniqueness violation: 'plugins' entity with name set to 'statsd' already declared for the same scope; first on line 11",
        ],
    ),
    (
        "services:\n- {name: a, host: h, plugins: [{name: acl, service: b}, {name: statsd, route: nope}, {name: loggly, service: a}]}\n- {name: b, host: h}",
        &[
            "3:53 bad-value `services[0].plugins[0].service`: value must be null",
            "3:79 bad-value `services[0].plugins[1].route`: value must be null",
        ],
    ),
    (
        "plugins: [{name: key-auth, _config: nope, config: {anonymous: nobody}}]",
        &[
            "2:37 unknown-reference `plugins[0]._config`: invalid reference 'nope' (no such entry in '_plugin_configs')",
            "2:63 doubtful `plugins[0].config.anonymous`: no consumer is called 'nobody': who is not known gets 500",
        ],
    ),
    // Upstreams and targets.
    (
        "upstreams:\n- {name: 1.2.3.4}\n- {name: 'u:80'}\n- {name: u, slots: 5, hash_on: header, hash_fallback: cookie, healthchecks: {active: {timout: 1, healthy: {successes: 256}}}}\n- {name: v, hash_on: cookie, hash_on_cookie: c, hash_fallback: ip}\n- {name: w, targets: [{target: 'x y'}, {target: a, weight: -1}, {target: a}, {target: 1.2.3.400}]}\ntargets: [{target: a}]",
        &[
            "3:10 bad-value `upstreams[0].name`: Invalid name; no ip addresses allowed",
            "4:10 bad-value `upstreams[1].name`: Invalid name; no port allowed",
            "5:20 bad-value `upstreams[2].slots`: value should be between 10 and 65536",
            "5:23 missing-key `upstreams[2].hash_on_header`: required field missing (failed conditional validation given value of field 'hash_on')",
            "5:40 missing-key `upstreams[2].hash_on_cookie`: required field missing (failed conditional validation given value of field 'hash_fallback')",
            "5:87 unknown-key `upstreams[2].healthchecks.active.timout`: unknown field, did you mean `timeout`?",
            "5:119 bad-value `upstreams[2].healthchecks.active.healthy.successes`: value should be between 0 and 255",
            "6:49 bad-value `upstreams[3].hash_fallback`: expected one of: none (failed conditional validation given value of field 'hash_on')",
            "7:32 bad-value `upstreams[4].targets[0].target`: Invalid target ('x y'); not a valid hostname or ip address",
            "7:60 bad-value `upstreams[4].targets[1].weight`: value should be between 0 and 65535",
            "7:74 conflict `upstreams[4].targets[2]`: uniqueness violation: 'targets' entity with target set to 'a' already declared for the same upstream; first on line 7",
            "7:87 bad-value `upstreams[4].targets[3].target`: Invalid target ('1.2.3.400'); not a valid hostname or ip address",
            "8:11 missing-key `targets[0].upstream`: required field missing",
        ],
    ),
    // Certificates, vaults, references.
    (
        "certificates: [{cert: x, snis: [1.2.3.4, 'a:1']}]\nsnis: [{name: a.test, certificate: nope}]\nca_certificates: [{cert: x}]\nvaults: [{name: hcv, prefix: A}, {name: foo, prefix: env}]",
        &[
            "2:16 missing-key `certificates[0].key`: required field missing",
            "2:33 bad-value `certificates[0].snis[0].name`: must not be an IP",
            "2:42 bad-value `certificates[0].snis[1].name`: must not have a port",
            "3:36 unknown-reference `snis[0].certificate`: invalid reference 'certificate: nope' (no such entry in 'certificates')",
            "4:26 bad-value `ca_certificates[0].cert`: invalid certificate",
            "5:17 not-supported `vaults[0].name`: the vault 'hcv' is not supported yet",
            "5:30 bad-value `vaults[0].prefix`: invalid value: A",
            "5:41 bad-value `vaults[1].name`: vault 'foo' is not installed",
            "5:54 bad-value `vaults[1].prefix`: must not be one of: env, aws, azure, conjur, gcp, hcv, konnect",
        ],
    ),
    (
        "services: [{host: '{vault://env/no-host}', name: '{vault://hcv/a}', path: '{vault://x/y}'}]\nconsumers: [{username: '{vault://env}', custom_id: '${{ env \"DECK_X\" }}'}]",
        &[
            "2:19 unset-variable `services[0].host`: unable to resolve reference {vault://env/no-host}: the variable `NO_HOST` is not set",
            "2:50 not-supported `services[0].name`: the vault 'hcv' is not supported yet",
            "2:75 unknown-reference `services[0].path`: vault not found (x)",
            "3:24 bad-value `consumers[0].username`: this reference is not complete",
            "3:52 unset-variable environment variable 'DECK_X' present in file but not set",
        ],
    ),
    // What is passed over, and what is not known at all.
    (
        "_konnect: {}\nkeys: []\n_workspace: a\nfoo: 1\nservces: []\n_info: {defalts: {}, select_tags: [a]}\nservices:\n- {host: h, filter_chains: []}\n- {host: h, filter_chains: []}",
        &[
            "2:1 ignored `_konnect` has no effect here",
            "3:1 ignored `keys` has no effect here",
            "4:1 ignored `_workspace` has no effect here",
            "5:1 unknown-key `foo`: unknown field",
            "6:1 unknown-key `servces`: unknown field, did you mean `services`?",
            "7:9 unknown-key `_info.defalts`: unknown field, did you mean `defaults`?",
            "7:22 ignored `_info.select_tags` has no effect here",
            "9:13 ignored `services[].filter_chains` has no effect here",
        ],
    ),
    ("services:\n- host: [h", &["3:9 syntax"]),
    ("services: []\nservices: []", &["3:1 duplicate-key `services` stands twice; first on line 2"]),
];

#[test]
fn every_mistake_is_told_with_its_place() {
    let mut wrong = Vec::new();
    for (text, expected) in FILES {
        let said = bad(text);
        let same = said.len() == expected.len()
            && said
                .iter()
                .zip(*expected)
                .all(|(s, e)| s == e || (e.ends_with("syntax") && s.split(' ').nth(1) == Some("syntax")));
        if !same {
            wrong.push(format!("{text}\n  said {said:#?}\n  expected {expected:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert!(FILES.len() >= 20);
}

/// T266 and T267.
#[test]
fn the_version_is_one_of_three_texts() {
    for (version, words) in [
        ("1.1", "1:18 wrong-type `_format_version`: expected a string"),
        ("\"foobar\"", "1:18 bad-value `_format_version`: expected one of: 1.1, 2.1, 3.0"),
        ("foobar", "1:18 bad-value `_format_version`: expected one of: 1.1, 2.1, 3.0"),
        ("\"1.2\"", "1:18 bad-value `_format_version`: expected one of: 1.1, 2.1, 3.0"),
        ("[3.0]", "1:18 bad-value `_format_version`: expected a string"),
    ] {
        assert_eq!(said(&format!("_format_version: {version}\n")), [words]);
    }
}

#[test]
fn every_problem_has_a_place_and_a_fix() {
    for (text, _) in FILES {
        let Err(report) = check("kong.yaml", &format!("_format_version: '3.0'\n{text}\n"), &[]) else { continue };
        for problem in &report.problems {
            assert!(problem.line > 1 && !problem.fix.is_empty() && !problem.text.is_empty(), "{problem:?}");
        }
        assert_eq!(report.exit(), 78);
    }
}
