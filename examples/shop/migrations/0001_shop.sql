-- For SQLite and PostgreSQL alike.
CREATE TABLE products (
    sku         TEXT   PRIMARY KEY,
    price_cents BIGINT NOT NULL
);

-- The id is the client's; the number is ours, and the order of arrival. The lines are JSON: nobody asks for one of them.
CREATE TABLE orders (
    number      BIGINT NOT NULL,
    id          TEXT   PRIMARY KEY,
    customer    TEXT   NOT NULL,
    status      TEXT   NOT NULL CHECK (status IN ('placed', 'paid', 'cancelled')),
    total_cents BIGINT NOT NULL,
    lines       TEXT   NOT NULL
);

CREATE INDEX orders_by_number ON orders (number);

-- The read model of the group `stock`: what is there, and every move that made it so.
CREATE TABLE stock (
    sku     TEXT   PRIMARY KEY REFERENCES products (sku),
    on_hand BIGINT NOT NULL
);

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

INSERT INTO stock (sku, on_hand) SELECT sku, 100000 FROM products;

INSERT INTO gift_cards (code, cents) VALUES ('WELCOME-10', 1000), ('WELCOME-50', 5000);
