import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.fasterxml.jackson.databind.util.RawValue;
import java.io.IOException;
import java.io.InputStream;
import java.net.URI;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.*;
import org.apache.avro.Conversions;
import org.apache.avro.Schema;
import org.apache.avro.data.TimeConversions;
import org.apache.avro.generic.*;
import org.apache.avro.io.DecoderFactory;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.errors.WakeupException;
import org.apache.kafka.common.serialization.*;

/** Reads topics of Walwright and prints a line of JSON for each event and each tombstone. See pom.xml for how to run. */
public final class Consumer {
    private static final ObjectMapper JSON = new ObjectMapper();

    public static void main(String[] args) throws IOException {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", args[0]);
        settings.put("group.id", args[2]);
        settings.put("isolation.level", "read_committed"); // Java's default is read_uncommitted.
        settings.put("auto.offset.reset", "earliest");
        settings.put("enable.auto.commit", "false");
        var consumer = new KafkaConsumer<>(settings, new StringDeserializer(), new ByteArrayDeserializer());
        Thread main = Thread.currentThread();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            consumer.wakeup();
            try {
                main.join(10_000);
            } catch (InterruptedException ended) {
                main.interrupt();
            }
        }));
        try (consumer) {
            consumer.subscribe(List.of(args).subList(3, args.length));
            Decoder decoder = new Decoder(args[1]);
            Set<String> recent = recentIds(100_000);
            while (true) {
                for (ConsumerRecord<String, byte[]> record : consumer.poll(Duration.ofSeconds(1))) {
                    if (recent.add(header(record, "ce_id"))) {
                        handle(record, decoder);
                    }
                }
                consumer.commitSync(); // Behind the handling, so that nothing is left out.
            }
        } catch (WakeupException stopped) {
            // What was handled is committed, and close() has left the group.
        }
    }

    /** What is to be done with an event; a tombstone has no value and says that its key is gone. */
    private static void handle(ConsumerRecord<String, byte[]> record, Decoder decoder) throws IOException {
        ObjectNode line = JSON.createObjectNode().put("topic", record.topic()).put("key", record.key());
        line.put("id", header(record, "ce_id")).put("type", header(record, "ce_type"));
        String value = record.value() == null ? "null" : decoder.decode(record.value()).toString();
        System.out.println(line.putRawValue("value", new RawValue(value)));
    }

    private static String header(ConsumerRecord<?, ?> record, String name) {
        return new String(record.headers().lastHeader(name).value(), StandardCharsets.UTF_8);
    }

    /** It ends with the process: where a restart must not repeat an effect, keep the id with the result instead. */
    private static Set<String> recentIds(int capacity) {
        return Collections.newSetFromMap(new LinkedHashMap<>() {
            @Override
            protected boolean removeEldestEntry(Map.Entry<String, Boolean> eldest) {
                return size() > capacity;
            }
        });
    }

    /** Confluent's wire format, by any registry with Confluent's REST API. Their KafkaAvroDeserializer does the same. */
    private record Decoder(String registry, GenericData types, Map<Integer, GenericDatumReader<GenericRecord>> readers) {
        Decoder(String registry) {
            this(registry, new GenericData(), new HashMap<>());
            types.addLogicalTypeConversion(new Conversions.DecimalConversion());
            types.addLogicalTypeConversion(new TimeConversions.TimestampMicrosConversion());
        }

        GenericRecord decode(byte[] value) throws IOException {
            int id = ByteBuffer.wrap(value, 1, 4).getInt(); // Behind the magic byte.
            if (!readers.containsKey(id)) {
                try (InputStream answer = URI.create(registry + "/schemas/ids/" + id).toURL().openStream()) {
                    Schema schema = new Schema.Parser().parse(JSON.readTree(answer).get("schema").asText());
                    readers.put(id, new GenericDatumReader<>(schema, schema, types));
                }
            }
            return readers.get(id).read(null, DecoderFactory.get().binaryDecoder(value, 5, value.length - 5, null));
        }
    }
}
