// Installs a package of `cosdd-zoo export` in Fiji, and denoises all images of a folder with it by deepImageJ 3.
//
//     fiji --headless --run denoise_folder.groovy 'zip="model.zip",input="noisy",output="denoised"'
//
// Without arguments Fiji asks for the three. Results are written by deepImageJ as TIFFs into the output folder.

#@ File (label = "Package (.zip)", style = "file") zip
#@ File (label = "Folder of noisy images", style = "directory") input
#@ File (label = "Folder for the results", style = "directory", required = false) output

import ij.IJ
import java.nio.file.Files
import java.util.zip.ZipFile

/** The folder of the unpacked package, models/NAME in Fiji's own; one that is there already is kept as it is. */
File install(File zip) {
    if (!zip.isFile()) throw new IllegalArgumentException("$zip is no file: give a package that cosdd-zoo export wrote")
    def home = IJ.getDirectory("imagej") ?: new File(".").absolutePath
    def model = new File(new File(home, "models"), zip.name.replaceFirst(/\.zip$/, ""))
    if (new File(model, "rdf.yaml").isFile()) {
        println "$model is installed already: delete it to install another of this name"
        return model
    }
    def part = new File(model.parentFile, model.name + ".part")
    part.deleteDir()
    part.mkdirs()
    new ZipFile(zip).withCloseable { archive ->
        if (archive.getEntry("rdf.yaml") == null)
            throw new IllegalArgumentException("$zip has no rdf.yaml: it is no package of the BioImage Model Zoo")
        archive.entries().each { entry ->
            if (entry.name.contains("/") || entry.name.contains("\\"))
                throw new IllegalArgumentException("$zip holds ${entry.name}: only packages without folders are installed")
            archive.getInputStream(entry).withCloseable { Files.copy(it, new File(part, entry.name).toPath()) }
        }
    }
    if (!part.renameTo(model)) throw new IOException("$part cannot be renamed to $model")
    println "installed in $model"
    return model
}

def model = install(zip)
def target = output ?: new File(input, "denoised")
target.mkdirs()
def images = input.listFiles().findAll { it.isFile() && it.name ==~ /(?i).*\.(tiff?|png)/ }.sort()
if (!images) throw new IllegalArgumentException("$input holds no TIFF and no PNG")
println "${images.size()} images from $input"
IJ.run("DeepImageJ Run", "model_path=[$model] input_path=[$input] output_folder=[$target]")
def written = target.listFiles().count { it.isFile() }
println "$written files in $target"
if (written < images.size()) throw new IllegalStateException("deepImageJ wrote $written results of ${images.size()}: see its log")
