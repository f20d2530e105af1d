//! The status page in headless Chromium: what cannot be seen in the text alone.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use pgbackrest_keeper::http::page::CONTENT_SECURITY_POLICY;
use tempfile::TempDir;

use super::{cases, fleet};

const DEADLINE: Duration = Duration::from_mins(1);
/// Writes down what the browser made of the page, with every fold open.
const PROBE: &str = "<script>
for (const fold of document.querySelectorAll('details')) fold.open = true;
const root = document.documentElement, wide = [];
for (const one of document.querySelectorAll('main *:not(svg *)'))
  if (one.getBoundingClientRect().right > innerWidth) wide.push(one.tagName);
parent.document.documentElement.dataset.probe = [innerWidth, root.scrollWidth, getComputedStyle(root).backgroundColor, wide.join(' ')].join('|');
</script>";

#[derive(Clone, Copy, PartialEq)]
enum Scheme {
    Dark = 0,
    Light = 1,
}

struct Browser {
    program: PathBuf,
    dir: TempDir,
}

#[test]
fn the_page_is_readable_at_both_widths_in_both_schemes() {
    let Some(browser) = Browser::find() else { return };
    let rendered = cases::render(&cases::second_repo_hangs());
    let page = browser.write("page", &rendered);
    for scheme in [Scheme::Light, Scheme::Dark] {
        for width in [1280, 400] {
            assert_eq!(browser.screenshot(&page, width, scheme), [width, 1400]);
            let ground = browser.measure("framed", &rendered, width, scheme);
            // The colours of style.css, which also shows that the policy lets the style through.
            let expected = if scheme == Scheme::Dark { "rgb(17, 21, 27)" } else { "rgb(246, 247, 249)" };
            assert_eq!(ground, expected);
        }
    }
}

#[test]
fn nothing_overflows_on_a_narrow_screen() {
    let Some(browser) = Browser::find() else { return };
    let narrow = ["hostile", "many-stanzas", "nothing-answers", "in_progress_incr_with_earlier_backups"];
    for (name, snapshot) in cases::all().into_iter().filter(|(name, _)| narrow.contains(name)) {
        browser.measure(name, &cases::render(&snapshot), 400, Scheme::Light);
    }
}

#[test]
fn the_fleet_is_readable_at_both_widths() {
    let Some(browser) = Browser::find() else { return };
    for (name, html) in fleet::pages() {
        let page = browser.write(name, &html);
        for width in [1280, 400] {
            assert_eq!(browser.screenshot(&page, width, Scheme::Light), [width, 1400]);
            browser.measure("framed", &html, width, Scheme::Light);
        }
    }
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

    fn write(&self, name: &str, html: &str) -> PathBuf {
        let file = self.dir.path().join(format!("{name}.html"));
        std::fs::write(&file, html).unwrap();
        file
    }

    /// The page in a frame of that width, since no window is narrower than 500 pixels when the document is asked for; under
    /// its own policy, beside which only the probe is allowed.
    fn write_probed(&self, name: &str, page: &str, width: u32) -> PathBuf {
        let policy = format!(
            "<meta http-equiv=\"Content-Security-Policy\" content=\"{CONTENT_SECURITY_POLICY}; \
             script-src 'unsafe-inline'\">"
        );
        let page = page.replacen("<meta charset=\"utf-8\">", &format!("<meta charset=\"utf-8\">{policy}"), 1);
        let page = page.replacen("</body>", &format!("{PROBE}</body>"), 1);
        let escaped = page.replace('&', "&amp;").replace('"', "&quot;");
        let frame = format!(
            "<!DOCTYPE html><meta name=\"color-scheme\" content=\"light dark\">\
             <iframe width=\"{width}\" height=\"1400\" frameborder=\"0\" srcdoc=\"{escaped}\"></iframe>"
        );
        self.write(name, &frame)
    }

    /// Width and height of the picture.
    fn screenshot(&self, page: &Path, width: u32, scheme: Scheme) -> [u32; 2] {
        let picture = self.dir.path().join("picture.png");
        self.run(page, width, scheme, &format!("--screenshot={}", picture.display()));
        let bytes = std::fs::read(&picture).unwrap();
        assert_eq!(&bytes[..8], b"\x89PNG\r\n\x1a\n");
        let scheme = if scheme == Scheme::Dark { "dark" } else { "light" };
        let name = page.file_stem().unwrap().to_string_lossy();
        if let Some(kept) = cases::kept(&format!("{name}-{width}-{scheme}.png")) {
            std::fs::copy(&picture, kept).unwrap();
        }
        // The header chunk of a PNG begins with both, big-endian.
        [16, 20].map(|at| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()))
    }

    /// The background that the browser computed; fails where anything is wider than the window.
    fn measure(&self, name: &str, page: &str, width: u32, scheme: Scheme) -> String {
        let page = self.write_probed(name, page, width);
        let dom = self.run(&page, 1400, scheme, "--dump-dom");
        let probe = dom.split_once("data-probe=\"").expect("the probe did not run").1;
        let fields: Vec<&str> = probe.split_once('"').unwrap().0.split('|').collect();
        let [window, content, ground, wide] = fields[..] else { panic!("{fields:?}") };
        let expected = width.to_string();
        assert_eq!((window, content, wide), (&*expected, &*expected, ""), "{name}");
        ground.to_owned()
    }

    fn run(&self, page: &Path, width: u32, scheme: Scheme, action: &str) -> String {
        let output = self.dir.path().join("output");
        let child = Command::new(&self.program)
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
            .args(["--hide-scrollbars", action])
            .arg(format!("--user-data-dir={}", self.dir.path().join("profile").display()))
            .arg(format!("--window-size={width},1400"))
            .arg(format!("--blink-settings=preferredColorScheme={}", scheme as u8))
            .arg(format!("file://{}", page.display()))
            .stdin(Stdio::null())
            .stdout(File::create(&output).unwrap())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        wait(child);
        std::fs::read_to_string(&output).unwrap()
    }
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
