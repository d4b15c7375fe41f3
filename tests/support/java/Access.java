import java.util.ArrayList;
import java.util.Collections;
import java.util.Iterator;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ScramCredentialInfo;
import org.apache.kafka.clients.admin.ScramMechanism;
import org.apache.kafka.clients.admin.UserScramCredentialUpsertion;
import org.apache.kafka.common.acl.AccessControlEntry;
import org.apache.kafka.common.acl.AclBinding;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.acl.AclPermissionType;
import org.apache.kafka.common.quota.ClientQuotaAlteration;
import org.apache.kafka.common.quota.ClientQuotaEntity;
import org.apache.kafka.common.resource.PatternType;
import org.apache.kafka.common.resource.ResourcePattern;
import org.apache.kafka.common.resource.ResourceType;
import org.apache.kafka.common.utils.SecurityUtils;

/**
 * Users and their rights on a cluster, by Kafka's own client. Arguments: the brokers, then changes one after another:
 * {@code user NAME PASSWORD} (SCRAM-SHA-512), {@code allow|forbid PRINCIPAL TYPE PATTERN NAME OPERATION}, in the words
 * of kafka-acls.sh, or {@code quota BYTES}: what each client may send in a second.
 */
final class Access {
    public static void main(String[] arguments) throws Exception {
        Iterator<String> words = List.of(arguments).iterator();
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", words.next()))) {
            List<AclBinding> allowed = new ArrayList<>();
            while (words.hasNext()) {
                switch (words.next()) {
                    case "user" -> user(admin, words.next(), words.next());
                    case "allow" -> allowed.add(right(words));
                    case "forbid" -> admin.deleteAcls(List.of(right(words).toFilter())).all().get();
                    case "quota" -> quota(admin, Double.valueOf(words.next()));
                    default -> throw new IllegalArgumentException("user, allow, forbid or quota");
                }
            }
            admin.createAcls(allowed).all().get();
        }
    }

    private static void user(Admin admin, String name, String password) throws Exception {
        var method = new ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096);
        var change = new UserScramCredentialUpsertion(name, method, password);
        admin.alterUserScramCredentials(List.of(change)).all().get();
    }

    private static void quota(Admin admin, double bytes) throws Exception {
        var everyone = new ClientQuotaEntity(Collections.singletonMap(ClientQuotaEntity.CLIENT_ID, null));
        var most = new ClientQuotaAlteration.Op("producer_byte_rate", bytes);
        admin.alterClientQuotas(List.of(new ClientQuotaAlteration(everyone, List.of(most)))).all().get();
    }

    private static AclBinding right(Iterator<String> words) {
        String principal = words.next();
        ResourceType type = SecurityUtils.resourceType(words.next());
        PatternType pattern = PatternType.valueOf(words.next().toUpperCase(Locale.ROOT));
        ResourcePattern resource = new ResourcePattern(type, words.next(), pattern);
        AclOperation operation = SecurityUtils.operation(words.next());
        return new AclBinding(resource, new AccessControlEntry(principal, "*", operation, AclPermissionType.ALLOW));
    }
}
