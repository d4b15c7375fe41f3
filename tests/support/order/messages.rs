//! What a server sends of `public.orders` of the worked example, REPLICA IDENTITY FULL, values in binary form.

const TABLE: u32 = 16_400;
const STATUS: u32 = 16_500;

/// Column, type and modifier, value in binary form.
type Column = (&'static str, u32, i32, Option<&'static [u8]>);

const ORDER: &[Column] = &[
    ("id", 20, -1, Some(&[0, 0, 0, 0, 0, 0, 48, 57])),
    ("external_id", 2950, -1, Some(&[7; 16])),
    ("customer_id", 2950, -1, Some(&[9; 16])),
    ("status", STATUS, -1, Some(b"PAID")),
    ("channel", 1042, 5, Some(b"W")),
    ("warehouse_id", 23, -1, Some(&[0, 0, 0, 3])),
    ("currency", 1042, 7, Some(b"EUR")),
    // 12345.67
    ("total_amount", 1700, (12 << 16 | 2) + 4, Some(&[0, 3, 0, 1, 0, 0, 0, 2, 0, 1, 0x09, 0x29, 0x1A, 0x2C])),
    ("line_count", 21, -1, Some(&[0, 2])),
    ("gift", 16, -1, Some(&[0])),
    (
        "shipping_address",
        3802,
        -1,
        Some(b"\x01{\"city\": \"London\", \"country\": \"GB\", \"recipient\": \"Ada Lovelace\"}"),
    ),
    ("requested_delivery_date", 1082, -1, None),
    ("customer_note", 25, -1, None),
    ("internal_note", 25, -1, None),
    ("cancel_reason", 25, -1, None),
    ("placed_at", 1184, -1, Some(&[0, 3, 3, 0xC8, 0x9D, 0x74, 0x4F, 0xC0])),
    ("paid_at", 1184, -1, Some(&[0, 3, 3, 0xC8, 0x9D, 0x74, 0x60, 0])),
    ("shipped_at", 1184, -1, None),
    ("cancelled_at", 1184, -1, None),
    ("request_id", 1043, 68, Some(b"backlog-4711")),
];

/// The labels of its status.
pub(crate) const STATES: [&str; 5] = ["PLACED", "PAID", "SHIPPED", "CANCELLED", "RETURNED"];

/// Whether a column's type is that of the order's status, which the catalog alone knows.
pub(crate) fn is_status(kind: u32) -> bool {
    kind == STATUS
}

pub(crate) fn relation() -> Vec<u8> {
    let mut bytes = [b"R".as_slice(), &TABLE.to_be_bytes(), b"public\0orders\0f", &count()].concat();
    for (name, kind, modifier, _) in ORDER {
        bytes.push(1);
        bytes.extend_from_slice(name.as_bytes());
        bytes.push(0);
        bytes.extend_from_slice(&kind.to_be_bytes());
        bytes.extend_from_slice(&modifier.to_be_bytes());
    }
    bytes
}

/// It is placed.
pub(crate) fn insert() -> Vec<u8> {
    message(b'I', &[(b'N', b"PLACED")])
}

/// It is paid.
pub(crate) fn paid() -> Vec<u8> {
    message(b'U', &[(b'O', b"PLACED"), (b'N', b"PAID")])
}

/// Its rows differ in their status.
fn message(kind: u8, rows: &[(u8, &[u8])]) -> Vec<u8> {
    let mut bytes = [&[kind][..], &TABLE.to_be_bytes()].concat();
    for (mark, status) in rows {
        bytes.push(*mark);
        bytes.extend_from_slice(&count());
        for (name, _, _, value) in ORDER {
            match if *name == "status" { Some(*status) } else { *value } {
                None => bytes.push(b'n'),
                Some(value) => {
                    bytes.push(b'b');
                    bytes.extend_from_slice(&u32::try_from(value.len()).unwrap_or_default().to_be_bytes());
                    bytes.extend_from_slice(value);
                }
            }
        }
    }
    bytes
}

fn count() -> [u8; 2] {
    u16::try_from(ORDER.len()).unwrap_or_default().to_be_bytes()
}
