package cosdd;

import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.zip.ZipEntry;
import java.util.zip.ZipFile;
import org.yaml.snakeyaml.Yaml;

/** A zip of the BioImage Model Zoo, as JDLL reads it: rdf.yaml of format 0.5, one input, one output of its size. */
final class ModelPackage implements AutoCloseable {

    /** JDLL tries to make larger tiles smaller, and does not come to an end; those of a fixed size it leaves alone. */
    private static final long MOST_VALUES = 3L * 4096 * 4096;

    private final ZipFile zip;
    private final Map<?, ?> rdf;

    ModelPackage(Path path) throws IOException {
        zip = new ZipFile(path.toFile());
        try (InputStream file = zip.getInputStream(entry("rdf.yaml"))) {
            rdf = new Yaml().load(file);
        }
        if (list(rdf, "inputs").size() != 1 || list(rdf, "outputs").size() != 1) {
            throw new IOException("One input and one output are expected.");
        }
    }

    Tensor testInput() throws IOException {
        return Npy.read(bytes(text(map(input(), "test_tensor"), "source")));
    }

    Tensor testOutput() throws IOException {
        return Npy.read(bytes(text(map(output(), "test_tensor"), "source")));
    }

    byte[] weights() throws IOException {
        return bytes(text(map(map(rdf, "weights"), "torchscript"), "source"));
    }

    /** Normalises as the description says, on the whole image. */
    Tensor preprocessed(Tensor x) throws IOException {
        return processed(x, input(), "preprocessing");
    }

    Tensor postprocessed(Tensor x) throws IOException {
        return processed(x, output(), "postprocessing");
    }

    /** The tiles in which JDLL runs an image. */
    Tiles tiles(int[] shape) throws IOException {
        List<?> inputs = list(input(), "axes");
        List<?> outputs = list(output(), "axes");
        if (inputs.size() != shape.length || outputs.size() != shape.length) {
            throw new IOException("The image has " + shape.length + " axes, not " + inputs.size() + " as described.");
        }
        List<Axis> axes = new ArrayList<>();
        boolean fixed = true;
        for (int a = 0; a < shape.length; a++) {
            Map<?, ?> in = (Map<?, ?>) inputs.get(a);
            fixed &= !(in.get("size") instanceof Map);
            axes.add(axis(in, (Map<?, ?>) outputs.get(a), shape[a]));
        }
        long values = axes.stream().mapToLong(Axis::tile).reduce(1, (a, b) -> a * b);
        if (!fixed && values > MOST_VALUES) {
            throw new IOException("JDLL never returns for a tile of " + values + " > " + MOST_VALUES + " values.");
        }
        return new Tiles(axes);
    }

    private static Axis axis(Map<?, ?> in, Map<?, ?> out, int size) throws IOException {
        String type = text(in, "type");
        if (!type.equals(out.get("type")) || type.equals("space") && !in.get("id").equals(out.get("id"))) {
            throw new IOException("Input and output have their axes in different orders.");
        }
        if (type.equals("channel")) {
            return Axis.whole(size);
        }
        if (type.equals("batch")) {
            return Axis.fixed(size, 1, 0);
        }
        int halo = out.get("halo") instanceof Integer stated ? stated : 0;
        if (in.get("size") instanceof Integer only) {
            return Axis.fixed(size, only, halo);
        }
        return Axis.atLeast(size, integer(map(in, "size"), "min"), integer(map(in, "size"), "step"), halo);
    }

    private static Tensor processed(Tensor x, Map<?, ?> tensor, String key) throws IOException {
        if (tensor.get(key) == null) {
            return x;
        }
        for (Object step : list(tensor, key)) {
            Map<?, ?> kwargs = map((Map<?, ?>) step, "kwargs");
            x = switch (text((Map<?, ?>) step, "id")) {
                case "ensure_dtype" -> x; // everything is float32 here; JDLL skips it as well
                case "scale_linear" -> x.affine(real(kwargs, "gain", 1), real(kwargs, "offset", 0));
                case "fixed_zero_mean_unit_variance" ->
                    x.affine(1, -real(kwargs, "mean", 0)).affine(1 / real(kwargs, "std", 1), 0);
                default -> throw new IOException("The step " + step + " is not known here.");
            };
        }
        return x;
    }

    private Map<?, ?> input() throws IOException {
        return (Map<?, ?>) list(rdf, "inputs").get(0);
    }

    private Map<?, ?> output() throws IOException {
        return (Map<?, ?>) list(rdf, "outputs").get(0);
    }

    private byte[] bytes(String name) throws IOException {
        try (InputStream file = zip.getInputStream(entry(name))) {
            return file.readAllBytes();
        }
    }

    private ZipEntry entry(String name) throws IOException {
        ZipEntry entry = zip.getEntry(name);
        if (entry == null) {
            throw new IOException("The zip has no " + name + ".");
        }
        return entry;
    }

    private static Map<?, ?> map(Map<?, ?> in, String key) throws IOException {
        return of(Map.class, in, key);
    }

    private static List<?> list(Map<?, ?> in, String key) throws IOException {
        return of(List.class, in, key);
    }

    private static String text(Map<?, ?> in, String key) throws IOException {
        return of(String.class, in, key);
    }

    private static int integer(Map<?, ?> in, String key) throws IOException {
        return of(Integer.class, in, key);
    }

    /** One number; JDLL takes lists of them wrongly or not at all. */
    private static double real(Map<?, ?> in, String key, double missing) throws IOException {
        return in.get(key) == null ? missing : of(Number.class, in, key).doubleValue();
    }

    private static <T> T of(Class<T> type, Map<?, ?> in, String key) throws IOException {
        if (!type.isInstance(in.get(key))) {
            throw new IOException(
                    "rdf.yaml has " + in.get(key) + " for '" + key + "', not a " + type.getSimpleName() + ".");
        }
        return type.cast(in.get(key));
    }

    @Override
    public void close() throws IOException {
        zip.close();
    }
}
