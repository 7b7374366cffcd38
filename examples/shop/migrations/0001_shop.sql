-- For SQLite and PostgreSQL alike.
CREATE TABLE products (
    sku         TEXT   PRIMARY KEY,
    price_cents BIGINT NOT NULL
);

-- The id is the client's; the number is ours, and the order of arrival. What was asked for is JSON: nobody asks for a part of it.
CREATE TABLE orders (
    number      BIGINT NOT NULL,
    id          TEXT   PRIMARY KEY,
    placed      TEXT   NOT NULL,
    status      TEXT   NOT NULL CHECK (status IN ('placed', 'paid', 'cancelled')),
    total_cents BIGINT NOT NULL
);

CREATE INDEX orders_by_number ON orders (number);

-- What came in, and what of it is reserved for orders, shipped or not.
CREATE TABLE stock (
    sku      TEXT   PRIMARY KEY REFERENCES products (sku),
    pieces   BIGINT NOT NULL,
    reserved BIGINT NOT NULL DEFAULT 0 CHECK (reserved >= 0)
);

-- What went out: kept by the group `stock`.
CREATE TABLE stock_moves (
    order_id TEXT   NOT NULL,
    sku      TEXT   NOT NULL REFERENCES stock (sku),
    quantity BIGINT NOT NULL
);

-- What was paid on an order, and how; `reference` is the gift card's code or the bank's token.
CREATE TABLE payments (
    order_id  TEXT   NOT NULL REFERENCES orders (id),
    how       TEXT   NOT NULL CHECK (how IN ('gift_card', 'card', 'invoice')),
    reference TEXT,
    cents     BIGINT NOT NULL CHECK (cents > 0)
);

CREATE INDEX payments_of_orders ON payments (order_id);
CREATE INDEX payments_by_reference ON payments (reference);

CREATE VIEW unpaid AS
SELECT id, CAST(total_cents - (
    SELECT coalesce(sum(cents), 0) FROM payments WHERE order_id = orders.id
) AS BIGINT) AS cents
FROM orders;

CREATE TABLE gift_cards (
    code  TEXT   PRIMARY KEY,
    cents BIGINT NOT NULL
);

-- What is left on gift cards.
CREATE VIEW gift_cards_left AS
SELECT code, CAST(cents - (
    SELECT coalesce(sum(cents), 0) FROM payments WHERE how = 'gift_card' AND reference = code
) AS BIGINT) AS cents
FROM gift_cards;

INSERT INTO products (sku, price_cents)
VALUES ('tea', 450), ('coffee', 890), ('cocoa', 620), ('mug', 1200), ('kettle', 3990), ('honey', 750);

INSERT INTO stock (sku, pieces) SELECT sku, 100000 FROM products;

INSERT INTO gift_cards (code, cents) VALUES ('WELCOME-10', 1000), ('WELCOME-50', 5000);
