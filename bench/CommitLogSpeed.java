import java.io.BufferedReader;
import java.io.File;
import java.io.InputStreamReader;

import org.apache.cassandra.db.Mutation;
import org.apache.cassandra.db.commitlog.CommitLogDescriptor;
import org.apache.cassandra.db.commitlog.CommitLogReadHandler;
import org.apache.cassandra.db.partitions.PartitionUpdate;

/**
 * Reads segments with Cassandra's own CommitLogReader each time a line comes in, and answers with the seconds it took,
 * the mutations of one keyspace, and the process's peak resident size in KiB. One thread; rows are decoded, as the
 * reader always does, and looked at no further.
 *
 * CommitLogSpeed KEYSPACE SEGMENT...
 */
public class CommitLogSpeed implements CommitLogReadHandler
{
    private final String keyspace;
    private long mutations;

    private CommitLogSpeed(String keyspace)
    {
        this.keyspace = keyspace;
    }

    public static void main(String[] arguments) throws Exception
    {
        CassandraReader.start();
        BufferedReader orders = new BufferedReader(new InputStreamReader(System.in));
        System.out.println("ready");
        while (orders.readLine() != null)
        {
            CommitLogSpeed speed = new CommitLogSpeed(arguments[0]);
            long start = System.nanoTime();
            for (int i = 1; i < arguments.length; i++)
                CassandraReader.read(speed, arguments[i]);
            double seconds = (System.nanoTime() - start) / 1e9;
            System.out.println("pass " + seconds + " " + speed.mutations + " " + peakKibibytes());
        }
        System.exit(0);
    }

    private static String peakKibibytes() throws Exception
    {
        for (String line : java.nio.file.Files.readAllLines(new File("/proc/self/status").toPath()))
            if (line.startsWith("VmHWM:"))
                return line.replaceAll("\\D", "");
        return "0";
    }

    @Override
    public boolean shouldSkipSegmentOnError(CommitLogReadException exception) throws CommitLogReadException
    {
        throw exception;
    }

    @Override
    public void handleUnrecoverableError(CommitLogReadException exception) throws CommitLogReadException
    {
        throw exception;
    }

    @Override
    public void handleMutation(Mutation mutation, int size, int entryLocation, CommitLogDescriptor descriptor)
    {
        if (!mutation.getKeyspaceName().equals(keyspace))
            return;
        for (PartitionUpdate update : mutation.getPartitionUpdates())
            mutations++;
    }
}
