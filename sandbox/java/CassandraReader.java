import java.lang.reflect.Constructor;
import java.lang.reflect.Method;

import org.apache.cassandra.config.DatabaseDescriptor;
import org.apache.cassandra.db.commitlog.CommitLogReadHandler;
import org.apache.cassandra.db.commitlog.CommitLogReader;
import org.apache.cassandra.schema.Schema;

/**
 * Cassandra's own CommitLogReader, the same for 4.0, 4.1 and 5.0, whose methods have changed: with the cassandra.yaml
 * and the data folder of a (stopped) node, for the schema and the keystore.
 */
final class CassandraReader
{
    private CassandraReader()
    {
    }

    /** Loads the node's configuration and schema. */
    static void start() throws Exception
    {
        DatabaseDescriptor.toolInitialization();
        try
        {
            // 4.0 would write the schema's version down; its method that does not is gone later.
            Schema.class.getMethod("loadFromDisk", boolean.class).invoke(Schema.instance, false);
        }
        catch (NoSuchMethodException e)
        {
            Schema.class.getMethod("loadFromDisk").invoke(Schema.instance);
        }
    }

    /** Reads a segment. 4.0 takes java.io.File, later versions a class of their own. */
    static void read(CommitLogReadHandler handler, String path) throws Exception
    {
        for (Method method : CommitLogReader.class.getMethods())
        {
            Class<?>[] types = method.getParameterTypes();
            if (!method.getName().equals("readCommitLogSegment") || types.length != 3 || types[2] != boolean.class)
                continue;
            Constructor<?> file = types[1].getConstructor(String.class);
            method.invoke(new CommitLogReader(), handler, file.newInstance(path), false);
            return;
        }
        throw new NoSuchMethodException("CommitLogReader.readCommitLogSegment");
    }
}
