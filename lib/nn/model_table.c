// The built-in models. Texts in one of the two grammars; knows neither.
#include "nn/model.h"

// ---- pieces ----

#define CONV(n, kernel, more) \
    "{\"type\":\"conv\",\"filters\":" #n ",\"kernel\":" #kernel more "}"
#define RELU "{\"type\":\"relu\"}"
#define MAXPOOL "{\"type\":\"maxpool\"}"
#define DENSE(n) "{\"type\":\"dense\",\"units\":" #n "}"
#define DROPOUT(p) "{\"type\":\"dropout\",\"p\":" #p "}"
#define MEAN "{\"type\":\"global_avg_pool\"}"
#define MODEL(layers) "{\"layers\":[" layers "]}"

#define STRIDE2 ",\"stride\":2,\"padding\":1"
#define NO_BIAS ",\"bias\":false"
#define KAIMING ",\"init\":\"kaiming_normal\""

// ---- an MLP with all that regularises ----

#define HIDDEN(n) \
    DENSE(n) ",{\"type\":\"batch_norm\"}," RELU "," DROPOUT(0.5)
#define MLP_BN_DROPOUT MODEL(HIDDEN(512) "," HIDDEN(512) "," DENSE(10))

// ---- LeNet-5 ----

#define LENET5                                                          \
    MODEL(CONV(6, 5, "") "," RELU "," MAXPOOL ","         \
          CONV(16, 5, ",\"padding\":0") "," RELU "," MAXPOOL "," DENSE(120) "," RELU  \
          "," DENSE(84) "," RELU "," DENSE(10))

// ---- a small VGG ----

// A convolution whose bias the normalisation has, and what follows it.
#define NORMED(n, more)                                         \
    CONV(n, 3, more NO_BIAS KAIMING) ",{\"type\":\"batch_norm\"}"
#define TWICE(n) \
    NORMED(n, "") "," RELU "," NORMED(n, "") "," RELU "," MAXPOOL
#define VGG_SMALL                                                   \
    MODEL(TWICE(32) "," TWICE(64) "," TWICE(128) "," DROPOUT(0.5) \
          "," DENSE(10))

// ---- three convolutions ----

#define CNN                                                            \
    MODEL(NORMED(32, "") "," RELU "," NORMED(64, "") "," RELU ","      \
          MAXPOOL "," NORMED(128, "") "," RELU "," MAXPOOL "," MEAN "," \
          DENSE(10))

// ---- all-convolutional ----

#define CONV_RELU(n, kernel, more) CONV(n, kernel, more KAIMING) "," RELU
#define ALL_CNN                                                            \
    MODEL(DROPOUT(0.2) "," CONV_RELU(96, 3, "") ","                      \
          CONV_RELU(96, 3, "") "," CONV_RELU(96, 3, STRIDE2) ","    \
          DROPOUT(0.5) "," CONV_RELU(192, 3, "") ","                     \
          CONV_RELU(192, 3, "") "," CONV_RELU(192, 3, STRIDE2) ","  \
          DROPOUT(0.5) "," CONV_RELU(192, 3, "") ","                     \
          CONV_RELU(192, 1, "") "," CONV_RELU(10, 1, "") "," MEAN)

// ---- network in network ----

#define FRACTIONAL "{\"type\":\"fractional_max_pool\",\"overlapping\":true}"
#define MLPCONV(a, kernel, b, c) \
    CONV_RELU(a, kernel, "") "," CONV_RELU(b, 1, "") "," CONV_RELU(c, 1, "")
#define NIN_FRACTIONAL                                                   \
    MODEL(MLPCONV(192, 5, 160, 96) "," FRACTIONAL "," DROPOUT(0.5) ","    \
          MLPCONV(192, 5, 192, 192) "," FRACTIONAL "," DROPOUT(0.5) "," \
          MLPCONV(192, 3, 192, 10) "," MEAN)

// ---- residual networks ----

#define BLOCK(n, more, shortcut)                                      \
    "{\"type\":\"residual\",\"layers\":[" NORMED(n, more) "," RELU ","  \
    NORMED(n, "") "]" shortcut "}," RELU ","
#define SAME(n) BLOCK(n, "", "")
#define HALF(n)                                                    \
    BLOCK(n, STRIDE2, ",\"shortcut\":[{\"type\":\"subsample\","     \
                      "\"channels\":" #n "}]")
#define RESNET20                                                           \
    MODEL(NORMED(16, "") "," RELU "," SAME(16) SAME(16) SAME(16) HALF(32)  \
          SAME(32) SAME(32) HALF(64) SAME(64) SAME(64) MEAN "," DENSE(10))

// ---- the table ----

static const struct qn_model_row rows[] = {
    {"mlp", "512-relu-512-relu-10",
     "two hidden layers of 512, the usual first network for digits"},
    {"mlp-bn-dropout", MLP_BN_DROPOUT,
     "mlp with batch normalisation and dropout 0.5 after each hidden layer; "
     "Ioffe, Szegedy: Batch normalization, ICML 2015; Srivastava et al.: "
     "Dropout, JMLR 2014"},
    {"softmax-regression", "10", "one dense layer: the linear classifier"},
    {"maxout-mlp",
     MODEL(DROPOUT(0.2) ",{\"type\":\"maxout\",\"units\":240,\"pieces\":5}"
           "," DROPOUT(0.5) ",{\"type\":\"maxout\",\"units\":240,"
           "\"pieces\":5}," DROPOUT(0.5) "," DENSE(10)),
     "for digits; Goodfellow, Warde-Farley, Mirza, Courville, Bengio: Maxout "
     "networks, ICML 2013"},
    {"lenet5", LENET5,
     "for 28x28 digits; LeCun, Bottou, Bengio, Haffner: Gradient-based "
     "learning applied to document recognition, 1998; with ReLU, max pooling "
     "and dense connections throughout"},
    {"vgg-small", VGG_SMALL,
     "for 32x32 images; after Simonyan, Zisserman: Very deep convolutional "
     "networks for large-scale image recognition, ICLR 2015; with batch "
     "normalisation"},
    {"cnn", CNN,
     "for 32x32 images; three normalised convolutions and a mean, a small net "
     "for timing; after Lin, Chen, Yan: Network in network, ICLR 2014, and "
     "Ioffe, Szegedy: Batch normalization, ICML 2015"},
    {"all-cnn", ALL_CNN,
     "All-CNN-C, for 32x32 images; Springenberg, Dosovitskiy, Brox, "
     "Riedmiller: Striving for simplicity, ICLR 2015 workshop"},
    {"nin-fractional", NIN_FRACTIONAL,
     "for 32x32 images; Lin, Chen, Yan: Network in network, ICLR 2014, with "
     "the pooling of Graham: Fractional max-pooling, 2014"},
    {"resnet20", RESNET20,
     "for 32x32 images; He, Zhang, Ren, Sun: Deep residual learning for image "
     "recognition, CVPR 2016, shortcuts without parameters"},
    {"resnet20-stochastic",
     "{\"model\":\"resnet20\",\"stochastic_depth\":0.5}",
     "resnet20 whose blocks are dropped; Huang, Sun, Liu, Sedra, Weinberger: "
     "Deep networks with stochastic depth, ECCV 2016"},
};
enum { ROW_COUNT = sizeof rows / sizeof *rows };

const struct qn_model_row *qn_model_row_at(int index)
{
    return index >= 0 && index < ROW_COUNT ? &rows[index] : NULL;
}

const struct qn_model_row *qn_model_row_find(const char *name)
{
    for (int i = 0; i < ROW_COUNT; i++)
        if (strcmp(rows[i].name, name) == 0)
            return &rows[i];
    return NULL;
}
