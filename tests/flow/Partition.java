// Reads lines "<count> <key in hex>" and writes the partition that Kafka's Java client takes, one line each.

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.HexFormat;
import org.apache.kafka.clients.producer.internals.BuiltInPartitioner;

public class Partition {
    public static void main(String[] arguments) throws Exception {
        var out = new StringBuilder();
        for (var line : (Iterable<String>) new BufferedReader(new InputStreamReader(System.in)).lines()::iterator) {
            var words = line.split(" ", 2);
            var key = HexFormat.of().parseHex(words[1]);
            out.append(BuiltInPartitioner.partitionForKey(key, Integer.parseInt(words[0]))).append('\n');
        }
        System.out.print(out);
    }
}
