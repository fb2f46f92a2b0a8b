package cosdd;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * Runs packages in Java, as deepImageJ and Icy do, and compares with their own test output.
 *
 * <pre>[--strict] [--write FOLDER] package.zip...</pre>
 *
 * One line a package: the test input in one pass, and in JDLL's tiles. Exits with 1 when a result in one pass is
 * beyond what the BioImage Model Zoo allows, or a package cannot be run; with --strict also when one in tiles is.
 * --write keeps the results as .npy.
 */
public final class Main {

    private Main() {}

    public static void main(String[] arguments) {
        List<String> packages = new ArrayList<>(List.of(arguments));
        boolean strict = packages.remove("--strict");
        Path folder = null;
        int write = packages.indexOf("--write");
        if (write >= 0 && write + 1 < packages.size()) {
            folder = Path.of(packages.remove(write + 1));
            packages.remove(write);
        }
        if (packages.isEmpty() || packages.stream().anyMatch(name -> name.startsWith("--"))) {
            System.err.println("usage: [--strict] [--write FOLDER] package.zip...");
            System.exit(2);
        }
        int failed = 0;
        for (String path : packages) {
            failed += passes(Path.of(path), strict, folder) ? 0 : 1;
        }
        if (failed > 0) {
            System.exit(1);
        }
    }

    private static boolean passes(Path path, boolean strict, Path folder) {
        String name = path.getFileName().toString();
        try (ModelPackage zip = new ModelPackage(path);
                Runner runner = new Runner(zip.weights())) {
            Tensor input = zip.preprocessed(zip.testInput());
            Tiles tiles = zip.tiles(input.shape());
            Tensor whole = zip.postprocessed(runner.run(input));
            Tensor tiled = zip.postprocessed(tiles.run(input, runner::run));
            keep(whole, folder, name, "whole");
            keep(tiled, folder, name, "tiled");
            Comparison one = Comparison.of(whole, zip.testOutput());
            Comparison jdll = Comparison.of(tiled, zip.testOutput());
            System.out.println(name + "  libtorch " + Runner.libtorch() + "  whole: " + one + "  JDLL's tiles, "
                    + tiles.count() + " of " + tiles.size() + ": " + jdll);
            return one.within() && (jdll.within() || !strict);
        } catch (Exception | LinkageError e) {
            System.out.println(name + "  FAILED: " + cause(e));
            return false;
        }
    }

    private static void keep(Tensor result, Path folder, String name, String how) throws IOException {
        if (folder != null) {
            Files.createDirectories(folder);
            Files.write(folder.resolve(name.replace(".zip", "") + "-" + how + ".npy"), Npy.write(result));
        }
    }

    private static Throwable cause(Throwable e) {
        return e.getCause() == null ? e : cause(e.getCause());
    }
}
