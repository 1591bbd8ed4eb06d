using System;
using System.Collections.Generic;
using System.Runtime.InteropServices;
using System.Threading;

namespace TisdissRt
{
    /// <summary>An opened bundle.</summary>
    /// <remarks>Sound is mono at the bundle's sample rate, see <see cref="Info"/>. Several threads may call it at
    /// once, and several streams of it may run, each on a thread of its own.</remarks>
    public sealed class Separator : IDisposable
    {
        private readonly BundleHandle handle;

        /// <summary>Opens the bundle in a folder.</summary>
        /// <exception cref="TisdissException">The folder is not a bundle, or ONNX Runtime is missing.</exception>
        public Separator(string folder, OpenOptions options = null)
            : this(folder ?? throw new ArgumentNullException(nameof(folder)), null, options) { }

        /// <summary>Opens a bundle whose files are in memory, by their names in a folder: manifest.json, the graphs
        /// of the precision, and voice.onnx where the manifest has it.</summary>
        /// <exception cref="TisdissException">The files are not a bundle, or ONNX Runtime is missing.</exception>
        public Separator(IReadOnlyDictionary<string, byte[]> files, OpenOptions options = null)
            : this(null, files ?? throw new ArgumentNullException(nameof(files)), options) { }

        private Separator(string folder, IReadOnlyDictionary<string, byte[]> files, OpenOptions options)
        {
            options = options ?? new OpenOptions();
            using (var onnxRuntime = new Utf8Text(options.OnnxRuntime))
            using (var provider = new Utf8Text(options.Provider))
            using (var precision = new Utf8Text(options.Precision))
            using (var path = new Utf8Text(folder))
            using (var lent = new LentFiles(files))
            {
                var native = new Native.OpenOptions
                {
                    size = Native.Size<Native.OpenOptions>(),
                    onnxruntime = onnxRuntime.Pointer,
                    provider = provider.Pointer,
                    precision = precision.Pointer,
                    threads = options.Threads,
                    files = lent.Pointer,
                    file_count = (UIntPtr)lent.Count
                };
                Native.Check(Native.tisdiss_open(path.Pointer, ref native, out handle));
            }
            var info = new Native.Info { size = Native.Size<Native.Info>() };
            Native.Check(Native.tisdiss_get_info(handle, ref info));
            Info = new Info(info);
        }

        /// <summary>Version of the native library.</summary>
        public static string Version => Native.FromUtf8(Native.tisdiss_version());

        /// <summary>What the bundle is, and how it runs.</summary>
        public Info Info { get; }

        /// <summary>Plan and result of the last separation; null before the first.</summary>
        public Report Report { get; private set; }

        /// <summary>Separates a whole signal.</summary>
        /// <param name="mix">The mixture.</param>
        /// <param name="options">Depth or budget.</param>
        /// <param name="progress">Told the share that is done, from 0 to 1, on this thread.</param>
        /// <param name="cancellation">Ends the separation early.</param>
        /// <returns>For each voice, an array as long as the mixture.</returns>
        /// <exception cref="TisdissException">An impossible option, or sound that cannot be used.</exception>
        /// <exception cref="OperationCanceledException">It was cancelled.</exception>
        public float[][] Separate(float[] mix, RunOptions options = null, IProgress<double> progress = null,
            CancellationToken cancellation = default(CancellationToken))
        {
            mix = mix ?? throw new ArgumentNullException(nameof(mix));
            var flat = new float[checked(Info.Sources * mix.Length)];
            Separate(mix, flat, options, progress, cancellation);
            return Native.Rows(flat, Info.Sources, mix.Length);
        }

        /// <summary>Does the same in memory of the caller.</summary>
        /// <param name="mix">The mixture.</param>
        /// <param name="rows">Receives a row as long as the mixture for each voice, one after the other.</param>
        /// <param name="options">Depth or budget.</param>
        /// <param name="progress">Told the share that is done, from 0 to 1, on this thread.</param>
        /// <param name="cancellation">Ends the separation early.</param>
        public void Separate(ReadOnlySpan<float> mix, Span<float> rows, RunOptions options = null,
            IProgress<double> progress = null, CancellationToken cancellation = default(CancellationToken))
        {
            if (rows.Length != checked(Info.Sources * mix.Length))
            {
                throw new ArgumentException("a row as long as the mixture is needed for each voice", nameof(rows));
            }
            Exception failed = null;
            Native.Progress tell = (data, done) =>
            {
                try // as no exception may pass the library
                {
                    progress?.Report(done);
                }
                catch (Exception exception)
                {
                    failed = exception;
                }
                return failed != null || cancellation.IsCancellationRequested ? 1 : 0;
            };
            Native.RunOptions native = (options ?? new RunOptions()).ToNative();
            native.progress = Marshal.GetFunctionPointerForDelegate(tell);
            var report = new Native.Report { size = Native.Size<Native.Report>() };
            var samples = (UIntPtr)mix.Length;
            Status status = Native.tisdiss_separate(handle, ref MemoryMarshal.GetReference(mix), samples, ref native,
                ref MemoryMarshal.GetReference(rows), samples, ref report);
            GC.KeepAlive(tell);
            if (failed != null)
            {
                throw failed;
            }
            if (status == Status.Cancelled)
            {
                throw new OperationCanceledException(cancellation);
            }
            Native.Check(status);
            Report = new Report(report);
        }

        /// <summary>Opens a stream of a streaming bundle.</summary>
        /// <exception cref="TisdissException">An impossible option, or an offline bundle.</exception>
        public SeparationStream OpenStream(RunOptions options = null)
        {
            Native.RunOptions native = (options ?? new RunOptions()).ToNative();
            Native.Check(Native.tisdiss_stream_open(handle, ref native, out StreamHandle stream));
            return new SeparationStream(stream, Info.Sources);
        }

        /// <summary>Frees the bundle; its streams keep working.</summary>
        public void Dispose() => handle.Dispose();
    }
}
