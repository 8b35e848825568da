# relaylab: every target, one graph. `make help` lists the targets.

# What is built, and how. Each of these may be given on the command line.
SRC ?= .
BASE ?= $(SRC)
SAN ?= plain
WERROR ?=
V ?=
WRAP ?=
WRAPFLAGS ?=
CFLAGS ?=
LDFLAGS ?=
OBJCOPY ?= objcopy
AR := ar
ifneq ($(filter default undefined,$(origin CC)),)
CC := gcc
endif

MAKEFLAGS += --no-builtin-rules --warn-undefined-variables
.DELETE_ON_ERROR:
.SECONDEXPANSION:
.SUFFIXES:

# The architecture: four stages, each on top of the earlier ones. A server is
# all .c files of its stage but client.c, a client all but server.c; the files
# of the stages below are linked behind them as libraries, nearest first.
stages := stage1_echo stage2_framing stage3_threads stage4_relay
with_client := stage1_echo stage2_framing stage4_relay
below_stage1_echo :=
below_stage2_framing := stage1_echo
below_stage3_threads := stage2_framing stage1_echo
below_stage4_relay := stage3_threads stage2_framing stage1_echo

# Where things are. BUILD may be anywhere; trees and variants do not mix.
kit := $(patsubst %/,%,$(dir $(abspath $(lastword $(MAKEFILE_LIST)))))
src := $(patsubst ./%,%,$(patsubst %/,%,$(SRC)))
base := $(patsubst ./%,%,$(patsubst %/,%,$(BASE)))
ifeq ($(src),solutions)
BUILD ?= build/solutions
else
BUILD ?= build
endif
out := $(BUILD)/$(SAN)
# A blank, a colon or a percent sign in a path means something else to make.
paths := $(CURDIR)$(SRC)$(BASE)$(BUILD)
ifneq ($(words $(paths))$(findstring :,$(paths))$(findstring %,$(paths)),1)
$(error make cannot work where a path has a blank, a colon or a percent \
    sign: $(CURDIR), SRC=$(SRC), BUILD=$(BUILD). Rename the directory)
endif

# How a file is compiled.
san_plain :=
# memcpy(p, NULL, 0) and an array without a place do no harm, though C17 says
# that they may; C2y makes the first legal (N3322).
san_asan := -fsanitize=address,undefined -fno-sanitize-recover=undefined \
    -fno-sanitize=nonnull-attribute,vla-bound
san_tsan := -fsanitize=thread
ifeq ($(filter plain asan tsan,$(SAN)),)
$(error unknown SAN=$(SAN): it is plain, asan or tsan)
endif
warnings := -Wall -Wextra -Wpedantic -Wshadow -Wvla -Wmissing-prototypes \
    -Wno-unused-parameter $(if $(WERROR),-Werror)
flags := -std=gnu17 -pthread -g -O1 -U_FORTIFY_SOURCE \
    -fno-omit-frame-pointer $(warnings) \
    $(san_$(SAN)) $(CFLAGS)
# The kit's own headers come first: a header is a contract and exists once.
kit_headers := $(addprefix -I$(kit)/,$(stages))
compile = $(CC) $(flags) $(kit_headers) $(addprefix -I$1/,$(stages)) -MMD -MP

# $(call sources,TREE,STAGE), $(call objects,STAGE,PROGRAM), ...
sources = $(sort $(wildcard $1/$2/*.c))
main_files = $1/$2/server.c $1/$2/client.c
shared = $(filter-out $(call main_files,$1,$2),$(call sources,$1,$2))
objects = $(patsubst $(src)/%.c,$(out)/%.o,\
    $(call shared,$(src),$1) $(src)/$1/$2.c)
members = $(patsubst $(base)/%.c,$(out)/base/%.o,$(call shared,$(base),$1))
libraries = $(patsubst %,$(out)/base/%.a,$(below_$1))
say = $(if $(V),,@echo '  $1 $@' && )
names = $1 $(if $(WRAP),$(addsuffix .wrapped,$1))
programs = $(addprefix $(out)/$1/,$(call names,$2))

##
## Building
##   make                   build all stages
.PHONY: all
all: stage1 stage2 stage3 stage4

##   make stage1 ... stage4 build one stage, and the earlier ones it stands on
.PHONY: stage1 stage2 stage3 stage4
stage1: $(call programs,stage1_echo,server client)
	$(call put_here,stage1_echo,server client)
stage2: $(call programs,stage2_framing,server client)
	$(call put_here,stage2_framing,server client)
stage3: $(call programs,stage3_threads,server)
	$(call put_here,stage3_threads,server)
stage4: $(call programs,stage4_relay,server client)
	$(call put_here,stage4_relay,server client)

# A student finds ./server and ./client in the stage's directory.
ifeq ($(src) $(BUILD),. build)
put_here = @ln -sf $(addprefix ../$(out)/$1/,$2) $1/
else
put_here = @:
endif

##
## Judging
##   make check             judge the work in this directory, quickly
##     STAGE=n                only this stage
##     ONLY="words"           only checks whose name has all these words
##     SLOW=1                 also memory, races and what takes seconds
##     TIMES=n                each check n times: is it always the same?
STAGE ?=
ONLY ?=
SLOW ?=
TIMES ?=
OUT ?=
SUBMISSION ?=
base_option := $(if $(filter-out $(src),$(base)),--base "$(base)")
.PHONY: check
check:
	@$(kit)/grader/run check --stage "$(STAGE)" --only "$(ONLY)" \
	    --times "$(TIMES)" $(if $(SLOW),--slow) $(if $(OUT),--out "$(OUT)") $(base_option)

##   make grade             grade a submission and write OUT/record.json
##     SUBMISSION=...         a directory, .zip or .tar.gz; else the reference
##     OUT=DIRECTORY          where the record goes, else build/grade
.PHONY: grade
grade:
	@$(kit)/grader/run grade $(if $(SUBMISSION),"$(SUBMISSION)") \
	    --stage "$(STAGE)" --only "$(ONLY)" --times "$(TIMES)" \
	    $(if $(OUT),--out "$(OUT)") $(base_option)

##   make hint CHECK=id     the next hint of a check
##   make debug CHECK=id    its program under gdb, with the check at the other end
CHECK ?=
.PHONY: hint debug
hint debug:
	@$(kit)/grader/run $@ "$(CHECK)" $(base_option)

##
## The kit itself
##   make test              its own tests: the whole gate
.PHONY: test
test:
	@$(kit)/grader/run selftest

##   make matrix            every known mistake and unusual program, graded
##   make soak              gradings repeated; prints every verdict that differed
##     RUNS=n LOAD=m          n times, beside m busy processes
##     ONLY=variants          matrix: only those (mutants/stage1, a name)
##   make texts             write what is made of the checks: rubrics, checks.md
RUNS ?= 1
LOAD ?= 0
.PHONY: matrix soak texts
matrix:
	@$(kit)/grader/run matrix --runs $(RUNS) --load $(LOAD) --only "$(ONLY)"
soak:
	@$(kit)/grader/run soak --runs $(RUNS) --load $(LOAD)
texts:
	@$(kit)/grader/run texts

##
## Lecture
##   make demo STAGE=n      the stage's programs in one narrated scene (AUTO=1)
##   make break STAGE=n     the limit that the next stage removes
AUTO ?=
.PHONY: demo break
demo:
	@$(kit)/grader/run demo --stage "$(or $(STAGE),4)" $(if $(AUTO),--auto)
break:
	@$(kit)/grader/run break --stage "$(or $(STAGE),1)"

##
## The rest
##   make clean             remove what was built
.PHONY: clean
clean:
	rm -rf build $(wildcard stage*/server stage*/client)

##   make help              show this list
.PHONY: help
help:
	@sed -n 's/^## \{0,1\}//p' $(kit)/Makefile

##
## Variables
##   SAN=asan, SAN=tsan     with the address or the thread sanitizer
##   CC=clang               with another compiler
##   WERROR=1               warnings are errors
##   V=1                    show the commands in full
##   SRC=solutions          build another tree of stages
##   BASE=solutions         take the earlier stages from another tree
##   BUILD=DIRECTORY        put everything there
##   WRAP=X.o WRAPFLAGS=... also link server.wrapped, client.wrapped with X.o

# Linking.
servers := $(patsubst %,$(out)/%/server,$(stages))
clients := $(patsubst %,$(out)/%/client,$(with_client))
link = $(CC) $(flags) $(LDFLAGS) -o $@ $(filter %.o,$^) $(filter %.a,$^)

$(servers): $(out)/%/server: $$(call objects,$$*,server) \
    $$(call libraries,$$*) $(out)/lists.stamp
	$(call say,link)$(link)
$(clients): $(out)/%/client: $$(call objects,$$*,client) \
    $$(call libraries,$$*) $(out)/lists.stamp
	$(call say,link)$(link)
$(addsuffix .wrapped,$(servers)): $(out)/%/server.wrapped: \
    $$(call objects,$$*,server) $$(WRAP) $$(call libraries,$$*) \
    $(out)/lists.stamp $(out)/wrap.stamp
	$(call say,link)$(link) $(WRAPFLAGS)
$(addsuffix .wrapped,$(clients)): $(out)/%/client.wrapped: \
    $$(call objects,$$*,client) $$(WRAP) $$(call libraries,$$*) \
    $(out)/lists.stamp $(out)/wrap.stamp
	$(call say,link)$(link) $(WRAPFLAGS)

$(patsubst %,$(out)/base/%.a,$(stages)): $(out)/base/%.a: \
    $$(call members,$$*) $(out)/lists.stamp
	@mkdir -p $(@D) && rm -f $@
	@$(AR) rcs $@ $(filter %.o,$^)

# Compiling. In a library every symbol is weak, so that a later stage may
# define a function of an earlier one anew.
$(out)/%.o: $(src)/%.c $(out)/flags.stamp
	@mkdir -p $(@D)
	$(call say,compile)$(call compile,$(src)) -c -o $@ $<
$(out)/base/%.o: $(base)/%.c $(out)/flags.stamp
	@mkdir -p $(@D)
	$(call say,compile)$(call compile,$(base)) -c -o $@ $<
	@$(OBJCOPY) --weaken $@

$(src)/%/server.c $(src)/%/client.c:
	@echo "relaylab: there is no file $@" >&2; exit 1

# A stamp is renewed only when what it says changes: other flags compile
# everything again, a file added or removed links again.
stamp_flags = $(call compile,$(src)) $(base)
stamp_lists = $(LDFLAGS) $(foreach stage,$(stages),\
    $(call sources,$(src),$(stage)) $(call sources,$(base),$(stage)))
stamp_wrap = $(WRAP) $(WRAPFLAGS)
.PHONY: always
always:
$(addprefix $(out)/,flags.stamp lists.stamp wrap.stamp): \
    $(out)/%.stamp: always | $(out)/.
	@$(file >$@.new,$(stamp_$*))cmp -s $@.new $@ && rm $@.new || mv $@.new $@
$(out)/.:
	@mkdir -p $@

-include $(wildcard $(out)/*/*.d $(out)/base/*/*.d)
