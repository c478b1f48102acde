//! Rules of this repository that the compiler cannot check.

use std::{
    fs,
    path::{Path, PathBuf},
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a parent").to_owned()
}

/// All files below the source directories, with their text.
fn sources(extension: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> =
        ["app", "frontend", "server", "style", "end2end"].iter().map(|folder| root().join(folder)).collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder").filter_map(Result::ok) {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if path.is_dir()
                && !["target", "node_modules", "test-results", "playwright-report"].contains(&name.as_str())
            {
                folders.push(path);
            } else if name.ends_with(extension) {
                let text = fs::read_to_string(&path).expect("text");
                found.push((path.strip_prefix(root()).expect("below").to_string_lossy().into_owned(), text));
            }
        }
    }
    assert!(!found.is_empty(), "no {extension} file was found, so nothing would be checked");
    found
}

/// The lines of product code: no comments, and nothing that exists for tests alone.
fn code(text: &str) -> impl Iterator<Item = &str> {
    let (mut found, mut lines) = (Vec::new(), text.lines());
    while let Some(line) = lines.next() {
        if line.trim_start().starts_with("//") {
            continue;
        }
        if line.trim() != "#[cfg(test)]" {
            found.push(line);
            continue;
        }
        // The item below it, to its semicolon or its last brace.
        let mut depth = 0;
        for line in lines.by_ref() {
            let count = |brace| line.matches(brace).count();
            depth += count('{');
            let closed = depth > 0 && depth == count('}');
            depth -= count('}').min(depth);
            if closed || depth == 0 && (line.trim_end().ends_with(';') || line.trim_end().ends_with('}')) {
                break;
            }
        }
    }
    found.into_iter()
}

#[test]
fn what_follows_a_part_for_tests_is_product_code() {
    let text =
        "use a;\n#[cfg(test)]\nuse b;\n#[cfg(test)]\nmod tests {\n    fn c() { d!(\"{}\"); }\n}\n// e\nfn f() {}\n";
    assert_eq!(code(text).collect::<Vec<_>>(), ["use a;", "fn f() {}"]);
}

fn is_test(path: &str) -> bool {
    path.contains("/tests/") || path.ends_with("_tests.rs")
}

#[test]
fn every_file_says_first_what_it_owns() {
    for (path, text) in sources(".rs") {
        assert!(text.starts_with("//! "), "{path} does not open with //!");
    }
}

#[test]
fn no_file_is_a_boulder() {
    for (path, text) in sources(".rs").into_iter().chain(sources(".css")).chain(sources(".ts")) {
        assert!(text.lines().count() <= 600, "{path} has more than 600 lines");
        assert!(!path.ends_with("mod.rs") || path.contains("tests/support"), "{path}: name the file after the module");
    }
}

#[test]
fn pages_do_not_know_one_another() {
    for (path, text) in sources(".rs").iter().filter(|(path, _)| path.starts_with("app/src/pages/")) {
        for line in code(text) {
            assert!(!line.contains("crate::pages::"), "{path}: {line}");
        }
    }
}

#[test]
fn modules_of_the_interface_know_only_those_above_them() {
    let root = fs::read_to_string(root().join("app/src/lib.rs")).expect("read");
    let names = root.lines().filter(|line| !line.starts_with(' ')).filter_map(|line| {
        let name = line.split_once("mod ")?.1.trim_end_matches([';', '{', ' ']);
        name.chars().all(|c| c.is_ascii_lowercase() || c == '_').then(|| name.to_owned())
    });
    let order: Vec<String> = names.collect();
    let place = |name: &str| order.iter().position(|known| known == name);
    assert!(place("format") < place("store") && place("store") < place("layout"), "{order:?}");
    for (path, text) in sources(".rs").iter().filter(|(path, _)| path.starts_with("app/src/")) {
        let within = path["app/src/".len()..].split(['/', '.']).next().and_then(place);
        let Some(within) = within else { continue };
        let code = code(text).collect::<Vec<_>>().join(" ");
        for (at, _) in code.match_indices("crate::") {
            for name in first_names(&code[at + "crate::".len()..]) {
                assert!(place(name).is_none_or(|known| known <= within), "{path} knows {name}");
            }
        }
    }
}

/// The first names of a path or of a tree of paths: `a` of `a::b`, and `a` and `c` of `{a::{b}, c}`.
fn first_names(path: &str) -> Vec<&str> {
    let Some(tree) = path.strip_prefix('{') else { return vec![first_name(path)] };
    let (mut depth, mut begins) = (0, vec![0]);
    for (at, c) in tree.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => begins.push(at + 1),
            _ => {}
        }
    }
    begins.into_iter().map(|begin| first_name(&tree[begin..])).collect()
}

fn first_name(path: &str) -> &str {
    let path = path.trim_start();
    &path[..path.find(|c: char| !c.is_ascii_lowercase() && c != '_').unwrap_or(path.len())]
}

#[test]
fn the_first_names_of_a_tree_of_paths_are_found() {
    assert_eq!(first_names("a::b;"), ["a"]);
    assert_eq!(first_names("{ a::{b, x::{y}}, c, d_e::F };"), ["a", "c", "d_e"]);
}

#[test]
fn building_blocks_know_neither_machines_nor_the_store() {
    for (path, text) in sources(".rs").iter().filter(|(path, _)| path.starts_with("app/src/ui/")) {
        for line in code(text) {
            assert!(!line.contains("model::") && !line.contains("crate::store"), "{path}: {line}");
        }
    }
}

#[test]
fn commands_leave_the_browser_in_one_place() {
    let posts = [
        "API_COMMANDS",
        "API_BATCHES",
        "routes::at(routes::COMMANDS)).header",
        "Request::post(&routes::at(routes::COMMANDS",
    ];
    for (path, text) in sources(".rs").iter().filter(|(path, _)| path.starts_with("app/src/")) {
        let allowed = ["app/src/store/acts/send.rs", "app/src/routes.rs"].contains(&path.as_str());
        for line in code(text).filter(|_| !allowed) {
            assert!(!posts.iter().any(|post| line.contains(post)), "{path}: {line}");
        }
    }
}

#[test]
fn addresses_are_spelled_where_they_are_routed_and_decided_only() {
    let allowed = [
        "app/src/routes.rs",
        "app/src/routes/page.rs",
        "server/src/http.rs",
        "server/src/http/assets.rs",
        "server/src/http/authorize.rs",
        // It describes the addresses of the others.
        "server/src/http/openapi.rs",
    ];
    for (path, text) in sources(".rs").iter().filter(|(path, _)| !is_test(path) && !allowed.contains(&path.as_str())) {
        let ours = path.starts_with("app/src") || path.starts_with("server/src");
        for line in code(text).filter(|_| ours) {
            let known = line.contains("path!(") || line.contains("/proc/");
            let spelled =
                line.match_indices("\"/").any(|(at, _)| line[at + 2..].starts_with(|c: char| c.is_ascii_lowercase()));
            assert!(known || !spelled, "{path}: {line}");
        }
    }
}

#[test]
fn xml_is_spelled_in_one_place() {
    for (path, text) in
        sources(".rs").iter().filter(|(path, _)| !is_test(path) && !path.starts_with("server/hypervisor/src/xml"))
    {
        for line in code(text) {
            for word in ["<domain", "<network", "<pool", "<volume"] {
                assert!(!line.contains(word), "{path}: {line}");
            }
        }
    }
}

#[test]
fn libvirts_misleading_verbs_stay_in_the_hypervisor() {
    for (path, text) in
        sources(".rs").iter().filter(|(path, _)| !is_test(path) && !path.starts_with("server/hypervisor/"))
    {
        for line in code(text) {
            // JavaScript's "undefined" is unrelated.
            let line = line.replace("undefined", "");
            assert!(!line.contains("destroy") && !line.contains("undefine"), "{path}: {line}");
        }
    }
}

#[test]
fn unsafe_code_and_the_binding_are_in_one_place_each() {
    for (path, text) in sources(".rs").iter().filter(|(path, _)| !is_test(path)) {
        let unsafe_block = code(text)
            .any(|line| line.contains("unsafe {") || line.contains("unsafe fn") || line.contains("unsafe extern"));
        let ours = path == "server/hypervisor/src/ffi.rs" || path.starts_with("server/hypervisor/src/ffi/");
        assert!(!unsafe_block || ours, "{path} holds unsafe code");
    }
    for (path, text) in sources("Cargo.toml") {
        let names_it = text.lines().any(|line| line.starts_with("virt ") || line.starts_with("virt-sys "));
        assert!(!names_it || path == "server/hypervisor/Cargo.toml", "{path} names the binding");
    }
}

#[test]
fn fractions_are_written_by_one_function_which_needs_no_library() {
    // scripts/wasm-opt.mjs takes the library's out of the browser's module.
    for (path, text) in sources("rs") {
        let browsers = path.starts_with("app/") && !is_test(&path);
        for line in code(&text).filter(|_| browsers) {
            let precise =
                line.match_indices(":.").any(|(at, _)| line[at + 2..].starts_with(|c: char| c.is_ascii_digit()));
            assert!(!precise, "{path}: {line}: `format::fraction` writes fractions");
        }
    }
}

#[test]
fn colours_are_named_in_one_file() {
    for (path, text) in sources(".css").iter().filter(|(path, _)| path != "style/tokens.css") {
        for line in text.lines() {
            let colour =
                line.contains("oklch(") && !line.contains("color-mix(in oklch") && !line.contains("light-dark(");
            assert!(!colour && !line.contains("rgb(") && !line.contains(": #"), "{path}: {line}");
        }
    }
}

#[test]
fn nothing_is_waited_for_by_sleeping_in_browser_tests() {
    for (path, text) in sources(".ts") {
        assert!(!text.contains("waitForTimeout"), "{path}: wait for what is to happen");
    }
}

#[test]
fn every_test_that_the_security_list_names_exists() {
    let list = fs::read_to_string(root().join("docs/security.md")).expect("readable");
    let mut tests: String = [".rs", ".ts"].iter().flat_map(|kind| sources(kind)).map(|(_, text)| text).collect();
    tests.retain(|c| c != '`');
    let rows = list.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| item"));
    let mut named = 0;
    for row in rows {
        let cell = row.trim_end_matches(" |").rsplit(" | ").next().expect("a last cell");
        for name in cell.split('`').skip(1).step_by(2).filter(|name| !name.contains('/') && *name != "hostile") {
            let (rust, browser) = (format!("fn {name}("), format!("test(\"{name}\""));
            assert!(tests.contains(&rust) || tests.contains(&browser), "no test is called {name}");
            named += 1;
        }
    }
    assert!(named > 40, "{named}");
}

#[test]
fn queries_are_put_together_from_sources_and_not_from_values() {
    // A query may contain only constants of the sources: columns, tables and conditions, or
    // conditions built from event kinds. Values are parameters.
    let spelled = ["COLUMNS", "steps", "machines", "table", "conditions", "rest"];
    for (path, text) in sources(".rs") {
        let verbs = ["SELECT ", "INSERT ", "UPDATE ", "DELETE "];
        let queries =
            code(&text).filter(|line| line.contains("format!(") && verbs.iter().any(|verb| line.contains(verb)));
        for line in queries {
            for place in line.split('{').skip(1).filter_map(|rest| rest.split('}').next()) {
                assert!(spelled.contains(&place), "{path}: {line}");
            }
        }
    }
}
