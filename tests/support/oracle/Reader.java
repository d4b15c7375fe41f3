import java.io.BufferedOutputStream;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.internals.BuiltInPartitioner;
import org.apache.kafka.common.PartitionInfo;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * What a read_committed subscriber sees of topics, by Kafka's own client, one JSON object a line. Bytes are base64.
 *
 * <pre>
 * read BROKERS TOPIC...      from the beginning to the end as of the start; fails while a transaction is open before it
 * partition COUNT            for each line of standard input, a key in hex: the partition that Kafka's producer takes
 * </pre>
 *
 * A record has topic, partition, offset, timestamp (ms), producer_partition (the one that Kafka's Java producer takes
 * for this key), key, headers (pairs of name and value), value (null for a tombstone).
 */
public final class Reader {
    private static final Base64.Encoder BASE64 = Base64.getEncoder();
    private static final Duration OPEN_TRANSACTION_MAX = Duration.ofSeconds(60);

    public static void main(String[] args) throws IOException {
        if (args.length == 2 && args[0].equals("partition")) {
            partitions(Integer.parseInt(args[1]));
        } else if (args.length > 2 && args[0].equals("read")) {
            try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(settings(args[1]));
                    OutputStream out = new BufferedOutputStream(System.out, 1 << 20)) {
                new Reader(args[1], consumer, out).read(Arrays.asList(args).subList(2, args.length));
            }
        } else {
            System.err.println("usage: Reader read BROKERS TOPIC... | partition COUNT");
            System.exit(64);
        }
    }

    private static Properties settings(String brokers) {
        Properties settings = new Properties();
        settings.put(ConsumerConfig.BOOTSTRAP_SERVERS_CONFIG, brokers);
        settings.put(ConsumerConfig.ISOLATION_LEVEL_CONFIG, "read_committed");
        settings.put(ConsumerConfig.ALLOW_AUTO_CREATE_TOPICS_CONFIG, "false");
        settings.put(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "none");
        settings.put(ConsumerConfig.MAX_POLL_RECORDS_CONFIG, "5000");
        settings.put(ConsumerConfig.KEY_DESERIALIZER_CLASS_CONFIG, ByteArrayDeserializer.class.getName());
        settings.put(ConsumerConfig.VALUE_DESERIALIZER_CLASS_CONFIG, ByteArrayDeserializer.class.getName());
        return settings;
    }

    private static void partitions(int count) throws IOException {
        BufferedReader keys = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII));
        StringBuilder lines = new StringBuilder();
        for (String key = keys.readLine(); key != null; key = keys.readLine()) {
            lines.append(BuiltInPartitioner.partitionForKey(HexFormat.of().parseHex(key), count)).append('\n');
        }
        System.out.print(lines);
        System.out.flush();
    }

    private final String brokers;
    private final KafkaConsumer<byte[], byte[]> consumer;
    private final OutputStream out;
    private final Map<String, Integer> partitionCounts = new HashMap<>();
    private final StringBuilder line = new StringBuilder();

    private Reader(String brokers, KafkaConsumer<byte[], byte[]> consumer, OutputStream out) {
        this.brokers = brokers;
        this.consumer = consumer;
        this.out = out;
    }

    private void read(List<String> topics) throws IOException {
        List<TopicPartition> partitions = find(topics);
        consumer.assign(partitions);
        consumer.seekToBeginning(partitions);
        Map<TopicPartition, Long> ends = ends(partitions);
        long deadline = System.nanoTime() + OPEN_TRANSACTION_MAX.toNanos();
        while (partitions.stream().anyMatch(partition -> consumer.position(partition) < ends.get(partition))) {
            if (write(Duration.ofMillis(500))) {
                deadline = System.nanoTime() + OPEN_TRANSACTION_MAX.toNanos();
            } else if (System.nanoTime() > deadline) {
                throw new IllegalStateException("a transaction stays open: nothing can be said of what is behind it");
            }
        }
    }

    /**
     * The ends of the log, whatever is open there: a broker confirms a commit a moment before it writes the markers, and
     * the offsets that it tells a read_committed consumer stop before them.
     */
    private Map<TopicPartition, Long> ends(List<TopicPartition> partitions) {
        Properties uncommitted = settings(brokers);
        uncommitted.put(ConsumerConfig.ISOLATION_LEVEL_CONFIG, "read_uncommitted");
        try (KafkaConsumer<byte[], byte[]> other = new KafkaConsumer<>(uncommitted)) {
            return other.endOffsets(partitions);
        }
    }

    private List<TopicPartition> find(List<String> topics) {
        Map<String, List<PartitionInfo>> known = consumer.listTopics();
        List<TopicPartition> partitions = new ArrayList<>();
        for (String topic : topics) {
            if (!known.containsKey(topic)) {
                throw new IllegalArgumentException("no topic " + topic);
            }
            partitionCounts.put(topic, known.get(topic).size());
            known.get(topic).forEach(info -> partitions.add(new TopicPartition(topic, info.partition())));
        }
        return partitions;
    }

    private boolean write(Duration timeout) throws IOException {
        ConsumerRecords<byte[], byte[]> records = consumer.poll(timeout);
        for (ConsumerRecord<byte[], byte[]> record : records) {
            write(record);
        }
        return !records.isEmpty();
    }

    private void write(ConsumerRecord<byte[], byte[]> record) throws IOException {
        line.setLength(0);
        line.append("{\"topic\":\"").append(record.topic());
        line.append("\",\"partition\":").append(record.partition());
        line.append(",\"offset\":").append(record.offset());
        line.append(",\"timestamp\":").append(record.timestamp());
        line.append(",\"producer_partition\":").append(producerPartition(record));
        line.append(",\"key\":");
        bytes(record.key());
        line.append(",\"headers\":[");
        String separator = "[";
        for (Header header : record.headers()) {
            line.append(separator);
            text(header.key());
            line.append(',');
            bytes(header.value());
            line.append(']');
            separator = ",[";
        }
        line.append("],\"value\":");
        bytes(record.value());
        line.append("}\n");
        out.write(line.toString().getBytes(StandardCharsets.UTF_8));
    }

    private Integer producerPartition(ConsumerRecord<byte[], byte[]> record) {
        return record.key() == null
            ? null
            : BuiltInPartitioner.partitionForKey(record.key(), partitionCounts.get(record.topic()));
    }

    private void bytes(byte[] bytes) {
        if (bytes == null) {
            line.append("null");
        } else {
            line.append('"').append(BASE64.encodeToString(bytes)).append('"');
        }
    }

    private void text(String text) {
        line.append('"');
        text.chars().forEach(c -> {
            if (c < 0x20 || c == '"' || c == '\\') {
                line.append(String.format("\\u%04x", c));
            } else {
                line.append((char) c);
            }
        });
        line.append('"');
    }
}
