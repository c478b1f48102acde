//! Images created by `qemu-img`, and handcrafted ones.

use std::{convert::Infallible, fs, path::Path, process::Command};

use proptest::prelude::*;

use super::*;

fn look_at(bytes: &[u8]) -> Image {
    let read = |at: u64, length: u64| -> Result<Vec<u8>, Infallible> {
        let from = usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
        let to = usize::try_from(at.saturating_add(length)).unwrap_or(usize::MAX).min(bytes.len());
        Ok(bytes[from..to].to_vec())
    };
    match look(read) {
        Ok(image) => image,
        Err(never) => match never {},
    }
}

/// An image created by QEMU; none without QEMU.
fn made(folder: &Path, options: &[&str]) -> Option<Vec<u8>> {
    let path = folder.join("image");
    let mut tool = Command::new("qemu-img");
    let run = tool.arg("create").arg("-q").args(&options[..options.len() - 1]).arg(&path).arg(options.last()?);
    match run.output() {
        Ok(output) => {
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            Some(fs::read(path).expect("it was made"))
        }
        Err(_) => None,
    }
}

/// A header of version 3 with the given fields.
fn header(features: u64, backing: &str, extensions: &[(u32, &[u8])]) -> Vec<u8> {
    let mut bytes = vec![0; 104];
    let mut put = |at: usize, with: &[u8]| bytes[at..at + with.len()].copy_from_slice(with);
    put(0, b"QFI\xfb");
    put(4, &3_u32.to_be_bytes());
    put(20, &16_u32.to_be_bytes());
    put(24, &(1_u64 << 30).to_be_bytes());
    put(72, &features.to_be_bytes());
    put(100, &104_u32.to_be_bytes());
    for (kind, content) in extensions {
        bytes.extend(kind.to_be_bytes());
        bytes.extend((content.len() as u32).to_be_bytes());
        bytes.extend(*content);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
    }
    bytes.extend([0; 8]);
    if !backing.is_empty() {
        let at = bytes.len() as u64;
        bytes[8..16].copy_from_slice(&at.to_be_bytes());
        bytes[16..20].copy_from_slice(&(backing.len() as u32).to_be_bytes());
        bytes.extend(backing.as_bytes());
    }
    bytes.resize(bytes.len().max(8192), 0);
    bytes
}

fn qcow2_of(bytes: &[u8]) -> Qcow2 {
    match look_at(bytes) {
        Image::Qcow2(image) => image,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_qemu_makes_is_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let make = |options: &[&str]| made(folder.path(), options);
    let Some(plain) = make(&["-f", "qcow2", "10M"]) else { return };
    assert_eq!(qcow2_of(&plain), Qcow2 { capacity: 10 << 20, ..Qcow2::default() });
    let old = make(&["-f", "qcow2", "-o", "compat=0.10", "10M"]).expect("made");
    assert_eq!(qcow2_of(&old).capacity, 10 << 20);
    let based = make(&["-f", "qcow2", "-u", "-b", "../p/base ", "-F", "raw", "10M"]).expect("made");
    let based = qcow2_of(&based);
    assert_eq!((based.backing.as_deref(), based.backing_format.as_deref()), (Some("../p/base ".as_ref()), Some("raw")));
    let data = folder.path().join("data");
    let outside = make(&["-f", "qcow2", "-o", &format!("data_file={}", data.display()), "10M"]).expect("made");
    assert_eq!(qcow2_of(&outside).data_file.as_deref(), Some(data.as_os_str()));
    for (format, name) in [("vmdk", "VMDK"), ("vdi", "VDI"), ("vpc", "VHD"), ("vhdx", "VHDX"), ("qed", "QED")] {
        let image = look_at(&make(&["-f", format, "10M"]).expect("made"));
        assert!(
            matches!(&image, Image::Other(format, names) if *format == name && names.iter().all(|name| name == "image")),
            "{image:?}"
        );
    }
    // Formats of former times name their backing files elsewhere.
    for (format, name) in [("qed", "QED"), ("qcow", "qcow"), ("vmdk", "VMDK")] {
        let base = folder.path().join(format!("base.{format}"));
        let made_base = Command::new("qemu-img").args(["create", "-q", "-f", format]).arg(&base).arg("10M").status();
        assert!(made_base.expect("qemu-img").success());
        let path = base.to_str().expect("text");
        let image = look_at(&make(&["-f", format, "-b", path, "-F", format, "10M"]).expect("made"));
        assert!(matches!(&image, Image::Other(format, names) if *format == name && names[0] == path), "{image:?}");
        assert!(image.may_name_others());
    }
    let flat = make(&["-f", "vmdk", "-o", "subformat=monolithicFlat", "10M"]).expect("made");
    let Image::Other("VMDK", names) = look_at(&flat) else { panic!("a VMDK") };
    assert!(names.len() == 1 && names[0].to_string_lossy().contains("-flat"), "the file of its extent: {names:?}");
    let text = b"# Disk DescriptorFile\nversion=1\nRW 2048 FLAT \"/etc/shadow\" 0\nparentFileNameHint=\"../base\"\n";
    assert_eq!(look_at(text), Image::Other("VMDK", vec!["/etc/shadow".into(), "../base".into()]));
    let raw = make(&["-f", "raw", "10M"]).expect("made");
    assert_eq!(look_at(&raw), Image::Raw);
}

#[test]
fn what_names_other_files_is_seen_however_it_is_written() {
    // CVE-2024-32498: the data file is set by an extension, with and without its feature bit.
    let named = header(DATA_FILE, "", &[(0x4441_5441, b"/etc/shadow")]);
    assert_eq!(qcow2_of(&named).data_file.as_deref(), Some("/etc/shadow".as_ref()));
    let unnamed = header(DATA_FILE, "", &[]);
    assert_eq!(qcow2_of(&unnamed).data_file.as_deref(), Some("".as_ref()));
    let without_bit = header(0, "", &[(0x4441_5441, b"/etc/shadow")]);
    assert_eq!(qcow2_of(&without_bit).data_file.as_deref(), Some("/etc/shadow".as_ref()));
    // CVE-2024-4467: the same as a json: description.
    let json = "json:{\"driver\":\"file\",\"filename\":\"/etc/shadow\"}";
    assert_eq!(qcow2_of(&header(0, json, &[])).backing.as_deref(), Some(json.as_ref()));
    assert_eq!(
        qcow2_of(&header(DATA_FILE, "", &[(0x4441_5441, json.as_bytes())])).data_file.as_deref(),
        Some(json.as_ref())
    );
    // The extension after many others.
    let mut many: Vec<(u32, &[u8])> = vec![(7, b"x"); 20];
    many.push((0x4441_5441, b"/far"));
    assert_eq!(qcow2_of(&header(0, "", &many)).data_file.as_deref(), Some("/far".as_ref()));
    assert!(qcow2_of(&header(0, "", &[(0x0537_be77, &[0; 16])])).encrypted);
    assert_eq!(qcow2_of(&header(1 << 1 | 1 << 40, "", &[])).unknown_features, 1 << 1 | 1 << 40);
    assert_eq!(qcow2_of(&header(1 | 1 << 3 | 1 << 4, "", &[])).unknown_features, 0);
}

#[test]
fn a_header_that_cannot_be_is_broken_and_not_read_further() {
    let good = header(0, "base", &[]);
    let broken = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        change(&mut bytes);
        assert!(matches!(look_at(&bytes), Image::Broken(..)), "{:?}", look_at(&bytes));
    };
    broken(&|bytes| bytes[7] = 9);
    broken(&|bytes| bytes[23] = 63);
    broken(&|bytes| bytes[8..16].copy_from_slice(&u64::MAX.to_be_bytes()));
    broken(&|bytes| bytes[16..20].copy_from_slice(&u32::MAX.to_be_bytes()));
    broken(&|bytes| bytes[100..104].copy_from_slice(&u32::MAX.to_be_bytes()));
    broken(&|bytes| bytes.truncate(50));
    let endless = header(0, "", &[(7, b"" as &[u8]); 200]);
    assert!(matches!(look_at(&endless), Image::Broken(..)));
    // What it names is known all the same, and QEMU reads a name to its first zero.
    let many = header(0, "base", &[(7, b"" as &[u8]); 200]);
    assert!(matches!(look_at(&many), Image::Broken(_, names) if names == ["base"]));
    let mut zero = header(0, "a\0b", &[]);
    assert_eq!(qcow2_of(&zero).backing.as_deref(), Some("a".as_ref()));
    zero.truncate(4);
    assert!(matches!(look_at(&zero), Image::Broken(..)));
    assert_eq!(look_at(b""), Image::Raw);
}

#[test]
fn an_empty_image_is_one_that_qemu_finds_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("empty.qcow2");
    for capacity in [1, 512, 10 << 20, (1 << 29) + 512, 1 << 40, 1 << 50, 1 << 51] {
        let image = empty_qcow2(capacity).expect("it is possible");
        assert_eq!(qcow2_of(&image), Qcow2 { capacity, ..Qcow2::default() });
        fs::write(&path, &image).expect("written");
        let Ok(checked) = Command::new("qemu-img").args(["check", "-f", "qcow2"]).arg(&path).output() else { return };
        // QEMU counts in sectors and rejects larger sizes itself.
        if capacity % 512 == 0 && capacity < 1 << 45 {
            assert!(checked.status.success(), "{capacity}: {checked:?}");
        }
    }
    // QEMU opens none with a larger L1 table, and nothing is allocated for them.
    for capacity in [(1 << 51) + 1, 1 << 56, u64::MAX] {
        assert_eq!(empty_qcow2(capacity), None);
    }
}

proptest! {
    #[test]
    fn no_header_makes_it_panic_or_read_without_end(
        bytes in prop::collection::vec(any::<u8>(), 0..9000),
        changes in prop::collection::vec((0_usize..400, any::<u8>()), 0..20),
        features in any::<u64>(),
        backing in "[ -~]{0,40}",
        kinds in prop::collection::vec((prop::sample::select(vec![0xe279_2aca_u32, 0x4441_5441, 0x0537_be77, 7]), prop::collection::vec(any::<u8>(), 0..60)), 0..5),
    ) {
        let mut random = bytes;
        look_at(&random);
        random.splice(0..0, *b"QFI\xfb");
        look_at(&random);
        let extensions: Vec<(u32, &[u8])> = kinds.iter().map(|(kind, content)| (*kind, content.as_slice())).collect();
        let mut made = header(features, &backing, &extensions);
        for (at, with) in changes {
            made[at] = with;
        }
        let mut reads = 0;
        let read = |at: u64, length: u64| -> Result<Vec<u8>, ()> {
            reads += 1;
            assert!(length <= PIECE, "pieces are small");
            let from = usize::try_from(at).unwrap_or(usize::MAX).min(made.len());
            Ok(made[from..from.saturating_add(length as usize).min(made.len())].to_vec())
        };
        look(read).expect("it was read");
        prop_assert!(reads < 4 * MAX_EXTENSIONS + 8);
    }
}
