import java.io.BufferedOutputStream;
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;

import org.apache.cassandra.db.ClusteringBound;
import org.apache.cassandra.db.ClusteringPrefix;
import org.apache.cassandra.db.DeletionTime;
import org.apache.cassandra.db.LivenessInfo;
import org.apache.cassandra.db.Mutation;
import org.apache.cassandra.db.RangeTombstone;
import org.apache.cassandra.db.commitlog.CommitLogDescriptor;
import org.apache.cassandra.db.commitlog.CommitLogReadHandler;
import org.apache.cassandra.db.partitions.PartitionUpdate;
import org.apache.cassandra.db.rows.Cell;
import org.apache.cassandra.db.rows.ColumnData;
import org.apache.cassandra.db.rows.ComplexColumnData;
import org.apache.cassandra.db.rows.Row;
import org.apache.cassandra.utils.ByteBufferUtil;

/**
 * Prints what Cassandra's own CommitLogReader makes of segments: one JSON object for each partition update of one
 * keyspace, in log order.
 *
 * CommitLogOracle KEYSPACE SEGMENT...
 */
public class CommitLogOracle implements CommitLogReadHandler
{
    private final String keyspace;
    private final PrintStream out;

    private CommitLogOracle(String keyspace, PrintStream out)
    {
        this.keyspace = keyspace;
        this.out = out;
    }

    public static void main(String[] arguments) throws Exception
    {
        // What Cassandra logs must not come between the lines of the answer.
        PrintStream out = new PrintStream(new BufferedOutputStream(System.out, 1 << 16), false, "UTF-8");
        System.setOut(System.err);
        CassandraReader.start();
        CommitLogOracle oracle = new CommitLogOracle(arguments[0], out);
        for (int i = 1; i < arguments.length; i++)
            CassandraReader.read(oracle, arguments[i]);
        out.flush();
        System.exit(out.checkError() ? 1 : 0);
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
            out.println(update(update, entryLocation, descriptor));
    }

    private static String update(PartitionUpdate update, int position, CommitLogDescriptor descriptor)
    {
        List<Long> times = new ArrayList<>();
        DeletionTime deletion = update.deletionInfo().getPartitionDeletion();
        StringBuilder json = new StringBuilder("{");
        field(json, "segment_id", descriptor.id).append(',');
        field(json, "position", position).append(',');
        field(json, "table", string(update.metadata().keyspace + '.' + update.metadata().name)).append(',');
        field(json, "partition_key", hex(update.partitionKey().getKey())).append(',');
        field(json, "deleted_at", deletedAt(deletion, times)).append(',');
        Row statics = update.staticRow();
        field(json, "static", statics.isEmpty() ? null : row(statics, times)).append(',');
        List<String> rows = new ArrayList<>();
        for (Row row : update)
            rows.add(row(row, times));
        field(json, "rows", array(rows)).append(',');
        List<String> ranges = new ArrayList<>();
        for (Iterator<RangeTombstone> all = update.deletionInfo().rangeIterator(false); all.hasNext(); )
            ranges.add(range(all.next(), times));
        field(json, "range_tombstones", array(ranges)).append(',');
        return field(json, "local_deletion_times", times).append('}').toString();
    }

    private static String range(RangeTombstone range, List<Long> times)
    {
        ClusteringBound<?> start = range.deletedSlice().start();
        ClusteringBound<?> end = range.deletedSlice().end();
        StringBuilder json = new StringBuilder("{");
        field(json, "start", values(start)).append(',');
        field(json, "start_inclusive", start.isInclusive()).append(',');
        field(json, "end", values(end)).append(',');
        field(json, "end_inclusive", end.isInclusive()).append(',');
        return field(json, "deleted_at", deletedAt(range.deletionTime(), times)).append('}').toString();
    }

    private static String row(Row row, List<Long> times)
    {
        LivenessInfo liveness = row.primaryKeyLivenessInfo();
        StringBuilder json = new StringBuilder("{");
        field(json, "clustering", row.isStatic() ? "[]" : values(row.clustering())).append(',');
        field(json, "timestamp", liveness.isEmpty() ? null : liveness.timestamp()).append(',');
        field(json, "ttl", liveness.isExpiring() ? liveness.ttl() : null).append(',');
        if (liveness.isExpiring())
            times.add(((Number) liveness.localExpirationTime()).longValue());
        field(json, "deleted_at", deletedAt(row.deletion().time(), times)).append(',');
        StringBuilder columns = new StringBuilder("{");
        for (ColumnData data : row)
        {
            if (columns.length() > 1)
                columns.append(',');
            field(columns, data.column().name.toString(), column(data, times));
        }
        return field(json, "columns", columns.append('}')).append('}').toString();
    }

    private static String column(ColumnData data, List<Long> times)
    {
        List<String> cells = new ArrayList<>();
        StringBuilder json = new StringBuilder("{");
        if (data.column().isComplex())
        {
            ComplexColumnData complex = (ComplexColumnData) data;
            field(json, "deleted_at", deletedAt(complex.complexDeletion(), times)).append(',');
            for (Cell<?> cell : complex)
                cells.add(cell(cell, times));
        }
        else
        {
            cells.add(cell((Cell<?>) data, times));
        }
        return field(json, "cells", array(cells)).append('}').toString();
    }

    private static String cell(Cell<?> cell, List<Long> times)
    {
        StringBuilder json = new StringBuilder("{");
        if (cell.path() != null)
            field(json, "path", hex(cell.path().get(0))).append(',');
        field(json, "value", cell.isTombstone() ? null : hex(cell.buffer())).append(',');
        field(json, "timestamp", cell.timestamp()).append(',');
        if (cell.isTombstone() || cell.isExpiring())
            times.add(((Number) cell.localDeletionTime()).longValue());
        return field(json, "ttl", cell.isExpiring() ? cell.ttl() : null).append('}').toString();
    }

    private static String values(ClusteringPrefix<?> prefix)
    {
        List<String> values = new ArrayList<>();
        for (int i = 0; i < prefix.size(); i++)
            values.add(hex(prefix.bufferAt(i)));
        return array(values);
    }

    private static Long deletedAt(DeletionTime deletion, List<Long> times)
    {
        if (deletion.isLive())
            return null;
        times.add(((Number) deletion.localDeletionTime()).longValue());
        return deletion.markedForDeleteAt();
    }

    private static StringBuilder field(StringBuilder json, String name, Object value)
    {
        return json.append(string(name)).append(':').append(value);
    }

    private static String array(List<String> values)
    {
        return '[' + String.join(",", values.stream().map(String::valueOf).toList()) + ']';
    }

    private static String hex(ByteBuffer value)
    {
        return value == null ? null : '"' + ByteBufferUtil.bytesToHex(value) + '"';
    }

    private static String string(String text)
    {
        StringBuilder json = new StringBuilder("\"");
        for (byte character : text.getBytes(StandardCharsets.UTF_8))
        {
            if (character < ' ' || character == '"' || character == '\\' || character > '~')
                throw new IllegalArgumentException("names in fixtures are plain: " + text);
            json.append((char) character);
        }
        return json.append('"').toString();
    }
}
