//! Packs the page's files, so that they lie packed in the binary and nothing is packed while it runs.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

fn main() -> std::io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dashboards/web");
    println!("cargo::rerun-if-changed={}", folder.display());
    println!("cargo::rerun-if-changed=build.rs");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or_else(|| std::io::Error::other("no OUT_DIR"))?);
    let mut files = Vec::new();
    collect(&folder, &folder, &mut files)?;
    files.sort();
    let (mut list, mut hash) = (String::new(), 0xcbf2_9ce4_8422_2325_u64);
    for (at, name) in files.iter().enumerate() {
        let bytes = std::fs::read(folder.join(name))?;
        // FNV-1a: it tells builds apart and proves nothing.
        for byte in name.bytes().chain([0]).chain(bytes.iter().copied()) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        let kind = match name.rsplit('.').next() {
            Some("css") => "text/css; charset=utf-8",
            Some("js") => "text/javascript; charset=utf-8",
            Some("svg") => "image/svg+xml",
            _ => return Err(std::io::Error::other(format!("{name}: of what kind is it?"))),
        };
        let packed = out.join(format!("web-{at}.gz"));
        let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        writer.write_all(&bytes)?;
        std::fs::write(&packed, writer.finish()?)?;
        let _ = writeln!(
            list,
            "    Asset {{ name: {name:?}, kind: {kind:?}, packed: include_bytes!({:?}) }},",
            packed.display().to_string()
        );
    }
    let text = format!("const HASH: &str = \"{hash:016x}\";\nstatic ASSETS: &[Asset] = &[\n{list}];\n");
    std::fs::write(out.join("web.rs"), text)
}

fn collect(root: &Path, folder: &Path, files: &mut Vec<String>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(root, &path, files)?;
        } else if let Ok(name) = path.strip_prefix(root) {
            files.push(name.to_string_lossy().into_owned());
        }
    }
    Ok(())
}
