// Watermill's forwarder, at the work of the bench path `relay.postgres.kafka`: rows of an outbox, stored before by its own
// publisher in transactions, are published to Kafka, 200 bytes each, of 100 keys. Prints one line of JSON.
//
//	watermill postgres|mysql ROWS
package main

import (
	"context"
	stdsql "database/sql"
	"encoding/json"
	"fmt"
	"log"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"
	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill-kafka/v3/pkg/kafka"
	"github.com/ThreeDotsLabs/watermill-sql/v4/pkg/sql"
	"github.com/ThreeDotsLabs/watermill/components/forwarder"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
)

const (
	keys         = 100
	storedAtOnce = 1000
	bytes        = 200
)

var logger = watermill.NopLogger{}

// A database of its own, with the adapters for it.
type store struct {
	db      *stdsql.DB
	schema  sql.SchemaAdapter
	offsets sql.OffsetsAdapter
	drop    func() error
}

func must[T any](value T, err error) T {
	check(err)
	return value
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func server(name string) *url.URL {
	variable := "CQRS_TEST_" + name + "_URL"
	text := os.Getenv(variable)
	if text == "" {
		log.Fatalf("%s is not set: run tests/services up && eval \"$(tests/services env)\"", variable)
	}
	return must(url.Parse(text))
}

func open(kind, name string) store {
	switch kind {
	case "postgres":
		at := server("POSTGRES")
		admin := must(stdsql.Open("pgx", at.String()))
		must(admin.Exec("CREATE SCHEMA " + name))
		query := at.Query()
		query.Set("search_path", name)
		at.RawQuery = query.Encode()
		return store{
			db:      must(stdsql.Open("pgx", at.String())),
			schema:  sql.DefaultPostgreSQLSchema{},
			offsets: sql.DefaultPostgreSQLOffsetsAdapter{},
			drop:    func() error { _, err := admin.Exec("DROP SCHEMA " + name + " CASCADE"); return err },
		}
	case "mysql":
		at := server("MYSQL")
		config := mysql.NewConfig()
		config.User = at.User.Username()
		config.Passwd, _ = at.User.Password()
		config.Net, config.Addr = "tcp", at.Host
		admin := must(stdsql.Open("mysql", config.FormatDSN()))
		must(admin.Exec("CREATE DATABASE " + name))
		config.DBName, config.ParseTime = name, true
		return store{
			db:      must(stdsql.Open("mysql", config.FormatDSN())),
			schema:  sql.DefaultMySQLSchema{},
			offsets: sql.DefaultMySQLOffsetsAdapter{},
			drop:    func() error { _, err := admin.Exec("DROP DATABASE " + name); return err },
		}
	}
	log.Fatalf("there is no %q: postgres or mysql", kind)
	return store{}
}

// Stores rows as an application would: by the forwarder's publisher, over one of a transaction.
func (s store) fill(topic string, rows int) {
	number := 0
	for number < rows {
		tx := must(s.db.BeginTx(context.Background(), nil))
		inner := must(sql.NewPublisher(sql.TxFromStdSQL(tx), sql.PublisherConfig{SchemaAdapter: s.schema}, logger))
		publisher := forwarder.NewPublisher(inner, forwarder.PublisherConfig{})
		var messages []*message.Message
		for ; number < rows && len(messages) < storedAtOnce; number++ {
			key := strconv.Itoa(number % keys)
			body := fmt.Sprintf(`{"key":%s,"number":%d,"text":"`, key, number)
			body += strings.Repeat("x", bytes-len(body)-2) + `"}`
			each := message.NewMessage(watermill.NewUUID(), []byte(body))
			each.Metadata.Set("key", key)
			messages = append(messages, each)
		}
		check(publisher.Publish(topic, messages...))
		check(tx.Commit())
	}
}

// Seconds from the forwarder's start until the last row is published.
func (s store) forward(brokers []string, rows int) float64 {
	out := must(kafka.NewPublisher(kafka.PublisherConfig{
		Brokers: brokers,
		Marshaler: kafka.NewWithPartitioningMarshaler(func(_ string, each *message.Message) (string, error) {
			return each.Metadata.Get("key"), nil
		}),
	}, logger))
	var published atomic.Int64
	all := make(chan struct{})
	count := func(next message.HandlerFunc) message.HandlerFunc {
		return func(each *message.Message) ([]*message.Message, error) {
			more, err := next(each)
			if err == nil && published.Add(1) == int64(rows) {
				close(all)
			}
			return more, err
		}
	}
	in := s.subscriber()
	relay := must(forwarder.NewForwarder(in, out, logger, forwarder.Config{Middlewares: []message.HandlerMiddleware{count}}))
	begun := time.Now()
	go func() { check(relay.Run(context.Background())) }()
	<-all
	took := time.Since(begun).Seconds()
	check(relay.Close())
	return took
}

func (s store) subscriber() *sql.Subscriber {
	return must(sql.NewSubscriber(sql.BeginnerFromStdSQL(s.db), sql.SubscriberConfig{
		SchemaAdapter:    s.schema,
		OffsetsAdapter:   s.offsets,
		InitializeSchema: true,
	}, logger))
}

func main() {
	if len(os.Args) != 3 {
		log.Fatal("watermill postgres|mysql ROWS")
	}
	kind, rows := os.Args[1], must(strconv.Atoi(os.Args[2]))
	name := "peer_watermill_" + strings.ReplaceAll(watermill.NewUUID(), "-", "")
	brokers := strings.Split(server("KAFKA").Host, ",")
	admin := must(sarama.NewClusterAdmin(brokers, sarama.NewConfig()))
	check(admin.CreateTopic(name, &sarama.TopicDetail{NumPartitions: 8, ReplicationFactor: 1}, false))
	s := open(kind, name)
	// Makes the tables.
	check(s.subscriber().SubscribeInitialize("forwarder_topic"))
	s.fill(name, rows)
	took := s.forward(brokers, rows)
	check(s.drop())
	check(admin.DeleteTopic(name))
	check(json.NewEncoder(os.Stdout).Encode(map[string]any{
		"peer": "watermill", "store": kind, "messages": rows, "seconds": took, "per_second": float64(rows) / took,
	}))
}
