-- What was paid on an order, and how; `reference` is the gift card's code or the bank's token.
CREATE TABLE payments (
    order_id  TEXT    NOT NULL REFERENCES orders (id),
    how       TEXT    NOT NULL CHECK (how IN ('gift_card', 'card', 'invoice')),
    reference TEXT,
    cents     INTEGER NOT NULL CHECK (cents > 0)
);

CREATE INDEX payments_of_orders ON payments (order_id);
CREATE INDEX payments_by_reference ON payments (reference);

CREATE VIEW unpaid AS
SELECT id, total_cents - (SELECT coalesce(sum(cents), 0) FROM payments WHERE order_id = orders.id) AS cents
FROM orders;

CREATE TABLE gift_cards (
    code  TEXT    PRIMARY KEY,
    cents INTEGER NOT NULL
);

-- What is left on gift cards.
CREATE VIEW gift_cards_left AS
SELECT code, cents - (
    SELECT coalesce(sum(cents), 0) FROM payments WHERE how = 'gift_card' AND reference = code
) AS cents
FROM gift_cards;

INSERT INTO gift_cards (code, cents) VALUES ('WELCOME-10', 1000), ('WELCOME-50', 5000);
