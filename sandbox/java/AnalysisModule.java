import java.util.List;
import java.util.Map;
import org.apache.lucene.analysis.LowerCaseFilter;
import org.apache.lucene.analysis.TokenStream;
import org.apache.lucene.analysis.core.KeywordTokenizer;
import org.apache.lucene.analysis.ngram.NGramTokenFilter;
import org.elasticsearch.common.settings.Settings;
import org.elasticsearch.index.IndexSettings;
import org.elasticsearch.index.analysis.PreConfiguredTokenizer;
import org.elasticsearch.index.analysis.TokenFilterFactory;
import org.elasticsearch.indices.analysis.AnalysisModule.AnalysisProvider;
import org.elasticsearch.plugins.AnalysisPlugin;
import org.elasticsearch.plugins.Plugin;

/**
 * What Sunbird's custom analyzers need of the unpublished module analysis-common: the tokenizer {@code keyword} and the
 * token filters {@code lowercase} and {@code ngram}, from the same Lucene classes and with the same settings, defaults
 * and bound. The sandbox compiles it for each engine, with the engine's own package in place of org.elasticsearch.
 */
public final class AnalysisModule extends Plugin implements AnalysisPlugin {
    @Override
    public List<PreConfiguredTokenizer> getPreConfiguredTokenizers() {
        return List.of(PreConfiguredTokenizer.singleton("keyword", KeywordTokenizer::new));
    }

    @Override
    public Map<String, AnalysisProvider<TokenFilterFactory>> getTokenFilters() {
        return Map.of(
            "lowercase",
            (index, environment, name, settings) -> new Lowercase(name),
            "ngram",
            AnalysisPlugin.requiresAnalysisSettings((index, environment, name, settings) -> new Ngram(index, name, settings))
        );
    }

    private static final class Lowercase implements TokenFilterFactory {
        private final String name;

        Lowercase(String name) {
            this.name = name;
        }

        @Override
        public String name() {
            return name;
        }

        @Override
        public TokenStream create(TokenStream tokens) {
            return new LowerCaseFilter(tokens);
        }
    }

    private static final class Ngram implements TokenFilterFactory {
        private final String name;
        private final int shortest;
        private final int longest;
        private final boolean preserveOriginal;

        Ngram(IndexSettings index, String name, Settings settings) {
            this.name = name;
            shortest = settings.getAsInt("min_gram", 1);
            longest = settings.getAsInt("max_gram", 2);
            preserveOriginal = settings.getAsBoolean("preserve_original", false);
            if (longest - shortest > index.getMaxNgramDiff()) {
                throw new IllegalArgumentException(
                    "max_gram " + longest + " and min_gram " + shortest + " differ by more than index.max_ngram_diff "
                        + index.getMaxNgramDiff()
                );
            }
        }

        @Override
        public String name() {
            return name;
        }

        @Override
        public TokenStream create(TokenStream tokens) {
            return new NGramTokenFilter(tokens, shortest, longest, preserveOriginal);
        }
    }
}
