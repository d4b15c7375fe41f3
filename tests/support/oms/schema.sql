-- A small order management system: customers, products, warehouses, stock, orders, payments, shipments, returns.
--
-- It is the source of the worked example (connectors/oms.toml) and of the tests. Nothing here exists for the daemon's
-- sake except what any source needs: a publication, and REPLICA IDENTITY FULL where a rule compares old and new.
-- For each event type the tables can say by plain SQL how many were due (expected.rs): a transition is stamped with its
-- time exactly once, stock carries a revision, and customers, whose rows may be deleted, have an audit table.
--
-- The role is what `walwright grants oms` prints.

CREATE TYPE customer_tier AS ENUM ('STANDARD', 'SILVER', 'GOLD');
CREATE TYPE order_status AS ENUM ('PLACED', 'PAID', 'SHIPPED', 'CANCELLED', 'RETURNED');
CREATE TYPE payment_method AS ENUM ('CARD', 'TRANSFER', 'INVOICE', 'WALLET');
CREATE TYPE payment_status AS ENUM ('AUTHORIZED', 'CAPTURED', 'REFUNDED');
CREATE TYPE stock_reason AS ENUM ('RECEIPT', 'SHIPMENT', 'RETURN', 'COUNT');

-- Every request that was taken, so that one that comes twice is taken once. Its id is the request_id of all rows that it
-- wrote. Not published: for the tests it is the witness whether a transaction was committed.
CREATE TABLE requests (
    id           varchar(64) PRIMARY KEY,
    operation    text        NOT NULL,
    received_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE warehouses (
    id           integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code         varchar(8)  NOT NULL UNIQUE,
    name         text        NOT NULL,
    country      char(2)     NOT NULL
);

CREATE TABLE products (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sku          varchar(32)   NOT NULL UNIQUE,
    name         text          NOT NULL,
    list_price   numeric(12,2) NOT NULL CHECK (list_price >= 0),
    weight_kg    real,
    attributes   jsonb         NOT NULL DEFAULT '{}',
    active       boolean       NOT NULL DEFAULT true
);

-- The customer number is the primary key and may change (accounts are merged and renumbered); orders therefore refer to
-- the id, which never changes. The columns are bounded so that a row stays below the TOAST threshold: every update then
-- carries the whole row, also under the default replica identity.
CREATE TABLE customers (
    customer_number varchar(40)   PRIMARY KEY,
    id              uuid          NOT NULL UNIQUE DEFAULT gen_random_uuid(),
    name            varchar(120)  NOT NULL,
    email           varchar(254)  NOT NULL,
    phone           varchar(32),
    tier            customer_tier NOT NULL DEFAULT 'STANDARD',
    birth_date      date,
    newsletter      boolean       NOT NULL DEFAULT false,
    credit_limit    numeric(12,2),
    billing_address jsonb         NOT NULL CHECK (octet_length(billing_address::text) <= 1000),
    password_hash   varchar(100)  NOT NULL,
    created_at      timestamptz   NOT NULL DEFAULT now(),
    request_id      varchar(64)
);

-- What happened to which customer, one row for each row change; it outlives the customer and is not published.
CREATE TABLE customer_audit (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id     uuid        NOT NULL,
    customer_number varchar(40) NOT NULL,
    operation       text        NOT NULL CHECK (operation IN ('INSERT', 'UPDATE', 'REKEY', 'DELETE')),
    changed_at      timestamptz NOT NULL DEFAULT now()
);

CREATE FUNCTION audit_customer() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    operation text := TG_OP;
BEGIN
    IF TG_OP = 'UPDATE' AND NEW.customer_number <> OLD.customer_number THEN
        operation := 'REKEY';
    END IF;
    INSERT INTO customer_audit (customer_id, customer_number, operation)
    VALUES (coalesce(NEW.id, OLD.id), coalesce(NEW.customer_number, OLD.customer_number), operation);
    RETURN NULL;
END $$;

CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON customers
    FOR EACH ROW EXECUTE FUNCTION audit_customer();

-- on_hand is what lies on the shelf, reserved what placed orders hold of it. The revision counts the changes of on_hand:
-- it goes up by one in each statement that changes on_hand, and in no other.
CREATE TABLE stock_levels (
    warehouse_id integer      NOT NULL REFERENCES warehouses,
    product_id   bigint       NOT NULL REFERENCES products,
    on_hand      integer      NOT NULL CHECK (on_hand >= 0),
    reserved     integer      NOT NULL DEFAULT 0 CHECK (reserved >= 0),
    revision     bigint       NOT NULL DEFAULT 0,
    reason       stock_reason NOT NULL DEFAULT 'RECEIPT',
    counted_at   timestamptz,
    request_id   varchar(64),
    PRIMARY KEY (warehouse_id, product_id)
) WITH (fillfactor = 50);

CREATE TABLE stock_movements (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    warehouse_id integer      NOT NULL REFERENCES warehouses,
    product_id   bigint       NOT NULL REFERENCES products,
    quantity     integer      NOT NULL,
    reason       stock_reason NOT NULL,
    moved_at     timestamptz  NOT NULL DEFAULT now(),
    request_id   varchar(64)
);

-- paid_at, shipped_at and cancelled_at are set with the status, once, and never cleared.
CREATE TABLE orders (
    id                      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    external_id             uuid          NOT NULL DEFAULT gen_random_uuid(),
    customer_id             uuid          NOT NULL,
    status                  order_status  NOT NULL DEFAULT 'PLACED',
    channel                 char(1)       NOT NULL CHECK (channel IN ('W', 'S', 'P')),
    warehouse_id            integer       NOT NULL REFERENCES warehouses,
    currency                char(3)       NOT NULL DEFAULT 'EUR',
    total_amount            numeric(12,2) NOT NULL CHECK (total_amount >= 0),
    line_count              smallint      NOT NULL CHECK (line_count > 0),
    gift                    boolean       NOT NULL DEFAULT false,
    shipping_address        jsonb         NOT NULL,
    requested_delivery_date date,
    customer_note           text,
    internal_note           text,
    cancel_reason           text,
    placed_at               timestamptz   NOT NULL DEFAULT now(),
    paid_at                 timestamptz,
    shipped_at              timestamptz,
    cancelled_at            timestamptz,
    request_id              varchar(64)   NOT NULL,
    CONSTRAINT orders_customer FOREIGN KEY (customer_id) REFERENCES customers (id),
    CONSTRAINT orders_paid CHECK (status <> 'PAID' OR paid_at IS NOT NULL),
    CONSTRAINT orders_shipped CHECK (status <> 'SHIPPED' OR shipped_at IS NOT NULL),
    CONSTRAINT orders_cancelled CHECK ((status = 'CANCELLED') = (cancelled_at IS NOT NULL))
) WITH (fillfactor = 70);

CREATE TABLE order_lines (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    order_id    bigint        NOT NULL REFERENCES orders,
    line_number smallint      NOT NULL,
    product_id  bigint        NOT NULL REFERENCES products,
    quantity    integer       NOT NULL CHECK (quantity > 0),
    unit_price  numeric(12,2) NOT NULL,
    tax_rate    numeric(5,2)  NOT NULL,
    gift_text   varchar(200),
    request_id  varchar(64)   NOT NULL,
    UNIQUE (order_id, line_number)
);

-- captured_at and refunded_at are set with the status, once.
CREATE TABLE payments (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    order_id        bigint         NOT NULL REFERENCES orders,
    method          payment_method NOT NULL,
    status          payment_status NOT NULL DEFAULT 'AUTHORIZED',
    amount          numeric(12,2)  NOT NULL,
    currency        char(3)        NOT NULL,
    refunded_amount numeric(12,2),
    provider_token  text           NOT NULL,
    authorized_at   timestamptz    NOT NULL DEFAULT now(),
    captured_at     timestamptz,
    refunded_at     timestamptz,
    request_id      varchar(64)    NOT NULL,
    CONSTRAINT payments_captured CHECK (status = 'AUTHORIZED' OR captured_at IS NOT NULL),
    CONSTRAINT payments_refunded CHECK ((status = 'REFUNDED') = (refunded_at IS NOT NULL))
);
CREATE INDEX ON payments (order_id);

CREATE TABLE shipments (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    order_id        bigint           NOT NULL UNIQUE REFERENCES orders,
    warehouse_id    integer          NOT NULL REFERENCES warehouses,
    carrier         varchar(16)      NOT NULL,
    tracking_number varchar(40),
    parcels         smallint         NOT NULL CHECK (parcels > 0),
    weight_kg       double precision NOT NULL,
    pickup_time     time,
    label_digest    bytea            NOT NULL,
    shipped_at      timestamptz      NOT NULL DEFAULT now(),
    request_id      varchar(64)      NOT NULL
);

-- A row is written when the goods arrive back.
CREATE TABLE returns (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    order_id      bigint        NOT NULL REFERENCES orders,
    rma_number    varchar(24)   NOT NULL,
    reason        text,
    restocked     boolean       NOT NULL,
    refund_amount numeric(12,2) NOT NULL,
    received_at   timestamp     NOT NULL DEFAULT (now() AT TIME ZONE 'UTC'),
    request_id    varchar(64)   NOT NULL
);

CREATE TABLE return_lines (
    return_id  bigint   NOT NULL REFERENCES returns,
    product_id bigint   NOT NULL REFERENCES products,
    quantity   integer  NOT NULL CHECK (quantity > 0),
    PRIMARY KEY (return_id, product_id)
);

-- Rules that compare the old row with the new one need the old row in the WAL.
ALTER TABLE orders REPLICA IDENTITY FULL;
ALTER TABLE payments REPLICA IDENTITY FULL;
ALTER TABLE stock_levels REPLICA IDENTITY FULL;

CREATE PUBLICATION walwright_oms FOR TABLE
    customers, orders, order_lines, payments, shipments, returns, return_lines,
    products, warehouses, stock_levels, stock_movements;
