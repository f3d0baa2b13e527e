import java.lang.reflect.Constructor;
import java.lang.reflect.Method;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.function.Supplier;

/**
 * Starts one node of Elasticsearch 7 or OpenSearch from the jars that Maven Central has.
 *
 * <p>Arguments: the root package ({@code org.elasticsearch} or {@code org.opensearch}), the home folder, the
 * configuration folder, and the class names of the plugins. Everything is reached by reflection, because one source
 * has to fit engines whose classes differ in package, and because a compiler for Java 17 cannot read those made for 21.
 */
public final class SearchLauncher {
    private final String root;

    private SearchLauncher(String root) {
        this.root = root;
    }

    public static void main(String[] arguments) throws Exception {
        new SearchLauncher(arguments[0]).start(
            Path.of(arguments[1]).toAbsolutePath(),
            Path.of(arguments[2]).toAbsolutePath(),
            Arrays.asList(arguments).subList(3, arguments.length)
        );
    }

    private void start(Path home, Path config, List<String> plugins) throws Exception {
        Class<?> environments = type("env.Environment");
        Class<?> settings = type("common.settings.Settings");
        Object builder = call(settings, null, "builder");
        builder = builder.getClass().getMethod("put", String.class, Path.class).invoke(builder, "path.home", home);
        Object initial = call(builder.getClass(), builder, "build");
        Supplier<String> name = () -> "sandbox";
        Object environment = method(type("node.InternalSettingsPreparer"), "prepareEnvironment", 4)
            .invoke(null, initial, Map.of(), config, name);
        Class<?> logging = type("common.logging.LogConfigurator");
        call(logging, null, "registerErrorListener");
        method(logging, "setNodeName", 1).invoke(null, "sandbox");
        method(logging, "configure", 1).invoke(null, environment);
        Class<?> nodes = type("node.Node");
        Constructor<?> constructor = nodes.getDeclaredConstructor(environments, Collection.class, boolean.class);
        constructor.setAccessible(true);
        Object node = constructor.newInstance(environment, loaded(plugins), false);
        CountDownLatch stopped = new CountDownLatch(1);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> close(nodes, node, stopped), "node-shutdown"));
        call(nodes, node, "start");
        stopped.await();
    }

    /** Classes, or descriptions of them where the engine wants these (OpenSearch 3). */
    private List<Object> loaded(List<String> plugins) throws Exception {
        List<Object> loaded = new ArrayList<>();
        for (String name : plugins) {
            Object described = describe(name);
            loaded.add(described == null ? Class.forName(name) : described);
        }
        return loaded;
    }

    private Object describe(String plugin) throws Exception {
        Class<?> versions;
        try {
            versions = Class.forName("org.opensearch.Version");
        } catch (ClassNotFoundException absent) {
            return null;
        }
        Object current = versions.getField("CURRENT").get(null);
        if (versions.getField("major").getByte(current) < 3) {
            return null;
        }
        Constructor<?> constructor = type("plugins.PluginInfo").getConstructor(
            String.class,
            String.class,
            String.class,
            versions,
            String.class,
            String.class,
            String.class,
            List.class,
            boolean.class
        );
        return constructor.newInstance(plugin, plugin, "1", current, "21", plugin, null, List.of(), false);
    }

    private static void close(Class<?> nodes, Object node, CountDownLatch stopped) {
        try {
            call(nodes, node, "close");
            nodes.getMethod("awaitClose", long.class, TimeUnit.class).invoke(node, 20L, TimeUnit.SECONDS);
        } catch (Exception problem) {
            problem.printStackTrace();
        } finally {
            stopped.countDown();
        }
    }

    private Class<?> type(String name) throws ClassNotFoundException {
        return Class.forName(root + "." + name);
    }

    private static Object call(Class<?> type, Object target, String name) throws Exception {
        return type.getMethod(name).invoke(target);
    }

    private static Method method(Class<?> type, String name, int parameters) {
        return Arrays.stream(type.getMethods())
            .filter(each -> each.getName().equals(name) && each.getParameterCount() == parameters)
            .findFirst()
            .orElseThrow(() -> new IllegalStateException(type + " has no " + name));
    }
}
