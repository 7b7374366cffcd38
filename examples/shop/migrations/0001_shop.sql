CREATE TABLE products (
    sku         TEXT    PRIMARY KEY,
    price_cents INTEGER NOT NULL
);

-- The id is the client's; the number is ours, and the order of arrival.
CREATE TABLE orders (
    number      INTEGER PRIMARY KEY,
    id          TEXT    NOT NULL UNIQUE,
    customer    TEXT    NOT NULL,
    status      TEXT    NOT NULL CHECK (status IN ('placed', 'paid', 'cancelled')),
    total_cents INTEGER NOT NULL
);

CREATE TABLE order_lines (
    order_id TEXT    NOT NULL REFERENCES orders (id),
    position INTEGER NOT NULL,
    sku      TEXT    NOT NULL REFERENCES products (sku),
    quantity INTEGER NOT NULL CHECK (quantity > 0),
    PRIMARY KEY (order_id, position)
);

CREATE VIEW orders_with_lines AS
SELECT orders.*, (
    SELECT json_group_array(json_object('sku', sku, 'quantity', quantity))
    FROM (SELECT * FROM order_lines WHERE order_id = orders.id ORDER BY position)
) AS lines
FROM orders;

-- The read model of the group `stock`: what is there, and every move that made it so.
CREATE TABLE stock (
    sku     TEXT    PRIMARY KEY REFERENCES products (sku),
    on_hand INTEGER NOT NULL
);

CREATE TABLE stock_moves (
    id       INTEGER PRIMARY KEY,
    order_id TEXT    NOT NULL,
    sku      TEXT    NOT NULL REFERENCES stock (sku),
    quantity INTEGER NOT NULL
);

INSERT INTO products (sku, price_cents)
VALUES ('tea', 450), ('coffee', 890), ('cocoa', 620), ('mug', 1200), ('kettle', 3990), ('honey', 750);

INSERT INTO stock (sku, on_hand) SELECT sku, 100000 FROM products;
