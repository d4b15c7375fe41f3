use super::*;
use crate::error::Kind;
use crate::model::SlotKind;

const COLUMNS: [SlotKind; 2] = [SlotKind::Binary, SlotKind::Text];

fn head() -> Bytes {
    Bytes(b"PGCOPY\n\xFF\r\n\0".to_vec()).u32(0).u32(0)
}

fn rows(bytes: &[u8]) -> Result<Vec<Vec<String>>, crate::error::Error> {
    let mut rows = CopyRows::new(bytes, &COLUMNS)?;
    let mut read = Vec::new();
    while let Some(row) = rows.next_row()? {
        read.push(data(Some(row)).iter().map(|datum| format!("{datum:?}")).collect());
    }
    Ok(read)
}

#[test]
fn rows_of_a_copy_are_rows_of_the_stream() {
    let bytes = head().u16(2).counted(&[0, 7]).counted(b"ab").u16(2).u32(u32::MAX).counted(b"").u16(u16::MAX).0;
    let expected = [["Binary([0, 7])", "Text([97, 98])"], ["Null", "Text([])"]];
    assert_eq!(rows(&bytes).unwrap(), expected);
    assert_eq!(rows(&head().u16(u16::MAX).0).unwrap().len(), 0);
}

#[test]
fn a_copy_that_is_cut_or_not_one_is_refused() {
    let whole = head().u16(2).counted(&[0, 7]).counted(b"ab").u16(u16::MAX);
    for cut in 0..whole.0.len() {
        assert_eq!(rows(&whole.0[..cut]).unwrap_err().kind(), Kind::Protocol, "{cut}");
    }
    let refused = |bytes: Bytes| rows(&bytes.0).unwrap_err().detail().to_owned();
    assert_eq!(refused(whole.u8(0)), "COPY (FORMAT binary): 1 bytes too many at byte 35 of 36");
    assert_eq!(
        refused(head().u16(1).counted(b"x").u16(u16::MAX)),
        "COPY (FORMAT binary): a row of 1 columns where 2 were asked for at byte 21 of 28"
    );
    assert_eq!(
        refused(Bytes(b"PGCOPY\n\xFF\r\n\0".to_vec()).u32(1 << 16).u32(0)),
        "COPY (FORMAT binary): the flags 0x10000, which are not known at byte 15 of 19"
    );
    assert_eq!(
        refused(head().u16(2).u32(u32::MAX - 1)),
        "COPY (FORMAT binary): -2 bytes are announced and 0 follow at byte 25 of 25"
    );
}
