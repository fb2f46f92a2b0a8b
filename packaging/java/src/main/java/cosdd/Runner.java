package cosdd;

import ai.djl.Device;
import ai.djl.MalformedModelException;
import ai.djl.engine.Engine;
import ai.djl.inference.Predictor;
import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.Shape;
import ai.djl.repository.zoo.Criteria;
import ai.djl.repository.zoo.ModelNotFoundException;
import ai.djl.repository.zoo.ZooModel;
import ai.djl.translate.TranslateException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;

/** Weights in DJL's PyTorch engine, on the CPU, loaded by folder and name, as JDLL's own engine does. */
final class Runner implements AutoCloseable {

    private static final String ENGINE = "PyTorch";

    static {
        System.setProperty("OPT_OUT_TRACKING", "true"); // DJL reports its use otherwise
    }

    private final Path folder;
    private final ZooModel<NDList, NDList> model;

    Runner(byte[] weights) throws IOException, ModelNotFoundException, MalformedModelException {
        folder = Files.createTempDirectory("package");
        Files.write(folder.resolve("weights.pt"), weights);
        model = Criteria.builder()
                .setTypes(NDList.class, NDList.class)
                .optEngine(ENGINE)
                .optDevice(Device.cpu())
                .optModelPath(folder)
                .optModelName("weights")
                .build()
                .loadModel();
    }

    static String libtorch() {
        return Engine.getEngine(ENGINE).getVersion();
    }

    Tensor run(Tensor x) {
        try (NDManager manager = NDManager.newBaseManager(Device.cpu(), ENGINE);
                Predictor<NDList, NDList> predictor = model.newPredictor()) {
            long[] shape = Arrays.stream(x.shape()).asLongStream().toArray();
            NDList result = predictor.predict(new NDList(manager.create(x.values(), new Shape(shape))));
            NDArray only = result.singletonOrThrow();
            int[] found = Arrays.stream(only.getShape().getShape()).mapToInt(Math::toIntExact).toArray();
            return new Tensor(found, only.toFloatArray());
        } catch (TranslateException e) {
            throw new IllegalStateException(e.getCause() == null ? e : e.getCause());
        }
    }

    @Override
    public void close() throws IOException {
        model.close();
        Files.deleteIfExists(folder.resolve("weights.pt"));
        Files.deleteIfExists(folder);
    }
}
