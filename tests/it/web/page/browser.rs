//! The status page in headless Chromium: what cannot be seen in the text alone.

use std::fmt::Write;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use pgbackrest_keeper::http::page::CONTENT_SECURITY_POLICY;
use tempfile::TempDir;

use super::{cases, fleet};

/// A browser that hangs must not hang the tests.
const DEADLINE: Duration = Duration::from_mins(20);
const HEIGHT: u32 = 1400;
/// Writes down what the browser made of the page in this frame, with every fold open.
const PROBE: &str = "<script>
for (const fold of document.querySelectorAll('details')) fold.open = true;
const root = document.documentElement, wide = [];
for (const one of document.querySelectorAll('main *:not(svg *)'))
  if (one.getBoundingClientRect().right > innerWidth) wide.push(one.tagName);
frameElement.dataset.probe = [innerWidth, root.scrollWidth, getComputedStyle(root).backgroundColor, wide.join(' ')].join('|');
</script>";

#[derive(Debug, Clone, Copy)]
enum Scheme {
    Dark = 0,
    Light = 1,
}

impl Scheme {
    fn name(self) -> &'static str {
        match self {
            Self::Dark => "dark",
            Self::Light => "light",
        }
    }

    /// The background in style.css. That it is there shows that the policy lets the style through.
    fn ground(self) -> &'static str {
        match self {
            Self::Dark => "rgb(17, 21, 27)",
            Self::Light => "rgb(246, 247, 249)",
        }
    }
}

/// A page as it is shown.
struct View<'a> {
    name: &'a str,
    html: &'a str,
    width: u32,
    scheme: Scheme,
}

struct Browser {
    program: PathBuf,
    dir: TempDir,
}

/// All pages in one run of the browser, since to start it costs more than to show a page.
#[test]
fn every_page_is_readable_at_both_widths_in_both_schemes() {
    let Some(browser) = Browser::find() else { return };
    let of_host = ["hostile", "many-stanzas", "nothing-answers", "in_progress_incr_with_earlier_backups"];
    let mut pages = vec![("page", cases::render(&cases::second_repo_hangs()))];
    for (name, snapshot) in cases::all() {
        if of_host.contains(&name) {
            pages.push((name, cases::render(&snapshot)));
        }
    }
    assert_eq!(pages.len(), 1 + of_host.len());
    pages.extend(fleet::pages());
    let mut views = Vec::new();
    for (name, html) in &pages {
        for width in [1280, 400] {
            views.extend([Scheme::Light, Scheme::Dark].map(|scheme| View { name, html, width, scheme }));
        }
    }
    let probes = browser.show(&views);
    assert_eq!(probes.len(), views.len(), "a probe did not run");
    for (view, probe) in views.iter().zip(probes) {
        // Nothing is wider than the window.
        let expected = format!("{0}|{0}|{1}|", view.width, view.scheme.ground());
        assert_eq!(probe, expected, "{} in {:?}", view.name, view.scheme);
    }
    browser.keep_pictures(&views);
}

impl Browser {
    /// None where there is no Chromium, which is a failure in CI.
    fn find() -> Option<Self> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let program = ["chromium", "chromium-browser", "google-chrome"]
            .iter()
            .flat_map(|name| std::env::split_paths(&path).map(move |dir| dir.join(name)))
            .find(|program| program.is_file());
        if program.is_none() {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "CI needs chromium");
            println!("skipped: chromium is not installed");
        }
        Some(Self { program: program?, dir: tempfile::tempdir().unwrap() })
    }

    /// What the probes wrote, each view in a frame of one document of which a picture is taken. A frame can be as narrow as
    /// a telephone, which a window cannot, and has its own colour scheme.
    fn show(&self, views: &[View<'_>]) -> Vec<String> {
        let mut document = "<!DOCTYPE html><meta charset=\"utf-8\">".to_owned();
        for view in views {
            let (width, scheme, page) = (view.width, view.scheme.name(), escaped(&probed(view.html)));
            write!(
                document,
                "<iframe width=\"{width}\" height=\"{HEIGHT}\" frameborder=\"0\" style=\"color-scheme: {scheme}\" \
                 srcdoc=\"{page}\"></iframe>"
            )
            .unwrap();
        }
        let picture = self.dir.path().join("picture.png");
        let screenshot = format!("--screenshot={}", picture.display());
        let window = 1720;
        let dom = self.run(&document, window, Scheme::Light, &["--dump-dom", &screenshot]);
        assert_eq!(size_of_png(&picture), [window, HEIGHT]);
        // Within a frame's document every quotation mark is escaped.
        let probes = dom.split("data-probe=\"").skip(1);
        probes.map(|rest| rest.split_once('"').unwrap().0.to_owned()).collect()
    }

    /// A picture of each view, for whoever works on the pages.
    fn keep_pictures(&self, views: &[View<'_>]) {
        for &View { name, html, width, scheme } in views {
            if let Some(file) = cases::kept(&format!("{name}-{width}-{}.png", scheme.name())) {
                self.run(html, width, scheme, &[&format!("--screenshot={}", file.display())]);
                assert_eq!(size_of_png(&file), [width, HEIGHT]);
            }
        }
    }

    /// What the browser prints.
    fn run(&self, html: &str, width: u32, scheme: Scheme, actions: &[&str]) -> String {
        let (page, output) = (self.dir.path().join("page.html"), self.dir.path().join("output"));
        fs::write(&page, html).unwrap();
        let child = Command::new(&self.program)
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
            .args(["--disable-extensions", "--hide-scrollbars"])
            .args(actions)
            .arg(format!("--user-data-dir={}", self.dir.path().join("profile").display()))
            .arg(format!("--window-size={width},{HEIGHT}"))
            .arg(format!("--blink-settings=preferredColorScheme={}", scheme as u8))
            .arg(format!("file://{}", page.display()))
            .stdin(Stdio::null())
            .stdout(File::create(&output).unwrap())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        wait(child);
        fs::read_to_string(&output).unwrap()
    }
}

/// The page under its own policy, beside which only the probe is allowed.
fn probed(page: &str) -> String {
    let policy = format!(
        "<meta http-equiv=\"Content-Security-Policy\" content=\"{CONTENT_SECURITY_POLICY}; \
         script-src 'unsafe-inline'\">"
    );
    let page = page.replacen("<meta charset=\"utf-8\">", &format!("<meta charset=\"utf-8\">{policy}"), 1);
    page.replacen("</body>", &format!("{PROBE}</body>"), 1)
}

/// For an attribute.
fn escaped(html: &str) -> String {
    html.replace('&', "&amp;").replace('"', "&quot;")
}

/// Width and height: the header chunk of a PNG begins with both, big-endian.
fn size_of_png(file: &Path) -> [u32; 2] {
    let bytes = fs::read(file).unwrap();
    assert_eq!(&bytes[..8], b"\x89PNG\r\n\x1a\n");
    [16, 20].map(|at| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()))
}

/// Waits for the browser, and ends its whole process group at the deadline.
fn wait(mut child: Child) {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success(), "chromium: {status}");
            return;
        }
        if started.elapsed() > DEADLINE {
            killpg(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGKILL).unwrap();
            child.wait().unwrap();
            panic!("chromium did not end within {DEADLINE:?}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
