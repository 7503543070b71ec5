"""Made-up texts in nine languages, for known answers in every script: sentences of words drawn at random.

Each language has two lists of words without one in common: of the second, texts are made that have nothing to do with
those of the first.
"""

from typing import NamedTuple


class Language(NamedTuple):
    """words, others: its two lists. blank: between words; mark: behind a sentence, and what follows it."""

    words: list[str]
    others: list[str]
    blank: str
    mark: str

    def text(self, rng, sentences=14, others=False):
        """So many sentences of 8 to 14 words."""
        words = self.others if others else self.words
        return self.join(self.blank.join(rng.choices(words, k=rng.randint(8, 14))) for _ in range(sentences))

    def join(self, sentences):
        return "".join(sentence + self.mark for sentence in sentences).strip()


def _language(words, others, blank=" ", mark=". "):
    return Language(words.split(), others.split(), blank, mark)


LANGUAGES = {
    "English": _language(
        """the patient doctor fever cough should take two tablets morning evening after meal drink water rest knee
        shoulder pain week blood pressure test clinic nurse sleep walk avoid coffee headache stomach skin rash
        don't worry result normal check again tomorrow please call hospital doctor's advice heart left right""",
        """harbour storm fishermen nets parliament budget debate granary railway engine violin orchestra mountain
        valley river bridge castle market apple orchard winter autumn lantern sailor compass island""",
    ),
    "German": _language(
        """der Patient Ärztin Fieber Husten sollte zwei Tabletten morgens abends nach Essen trinken Wasser Ruhe Knie
        Schulter Schmerzen Woche Blutdruckmessung Untersuchung Klinik Pflegerin schlafen gehen meiden Kaffee
        größer Kopfschmerzen Magen Haut Ausschlag keine Sorge Ergebnis wieder Straße bitte anrufen Krankenhaus
        Rat Herz links""",
        """Hafen Sturm Fischer Netze Haushalt Debatte Speicher Eisenbahn Geige Orchester Gebirge Tal Fluss Brücke
        Schloss Markt Apfel Obstgarten Herbst Laterne Seemann Kompass Insel Dorf""",
    ),
    "Russian": _language(
        """пациент врач температура кашель следует принимать две таблетки утром вечером после еды пить воду отдых
        колено плечо боль неделя давление анализ клиника сестра спать ходить избегать кофе голова живот кожа сыпь
        волнуйтесь результат норма снова завтра пожалуйста позвоните больница совет сердце слева справа ещё""",
        """гавань буря рыбаки сети парламент бюджет спор амбар железная дорога скрипка оркестр гора долина река мост
        замок рынок яблоко сад осень фонарь моряк компас остров""",
    ),
    "Arabic": _language(
        """المريض الطبيب حمى سعال يجب تناول قرصين صباحا مساء بعد الأكل شرب الماء راحة ركبة كتف ألم أسبوع ضغط الدم
        تحليل عيادة ممرضة نوم مشي تجنب القهوة صداع معدة جلد طفح لا تقلق نتيجة طبيعية فحص غدا اتصل مستشفى نصيحة
        قلب يسار يمين كتابٌ""",
        """ميناء عاصفة صيادون شباك برلمان ميزانية نقاش مخزن قطار كمان فرقة جبل وادي نهر جسر قلعة سوق تفاح بستان خريف
        فانوس بحار بوصلة جزيرة""",
    ),
    "Hindi": _language(
        """मरीज़ डॉक्टर बुखार खाँसी चाहिए लेना दो गोलियाँ सुबह शाम बाद भोजन पीना पानी आराम घुटना कंधा दर्द सप्ताह
        रक्तचाप जाँच अस्पताल नर्स सोना चलना बचें कॉफ़ी सिरदर्द पेट त्वचा चकत्ते चिंता नतीजा सामान्य फिर कल कृपया
        बुलाएँ सलाह हृदय बाएँ दाएँ""",
        """बंदरगाह तूफ़ान मछुआरे जाल संसद बजट बहस भंडार रेलगाड़ी वायलिन पहाड़ घाटी नदी पुल किला बाज़ार सेब बाग़
        पतझड़ लालटेन नाविक द्वीप""",
        mark="। ",
    ),
    "Chinese": _language(
        """患者 医生 发热 咳嗽 应该 服用 两片 药物 早晨 晚上 饭后 多喝 温水 休息 膝盖 肩膀 疼痛 星期 血压 化验 诊所
        护士 睡眠 走路 避免 咖啡 头痛 胃部 皮肤 皮疹 不必 担心 结果 正常 复查 明天 请您 打电话 住院 建议 心脏
        左侧 右侧 的 了 和 在""",
        """港口 暴风 渔民 渔网 议会 预算 辩论 粮仓 铁路 提琴 乐团 高山 峡谷 河流 桥梁 城堡 市场 苹果 果园 秋季 灯笼
        水手 罗盘 岛屿""",
        "",
        "。",
    ),
    "Japanese": _language(
        """患者 医師 発熱 せき 飲んで ください 二錠 朝 夜 食後 お水 休んで ひざ 肩 痛み 一週間 血圧 検査 クリニック
        看護師 眠る 歩く 避けて コーヒー 頭痛 お腹 皮膚 かゆみ 心配 ありません 結果 正常 もう一度 明日 どうぞ
        電話 病院 アドバイス 心臓 左 右 は が を に""",
        """港町 嵐 漁師 あみ 議会 予算 討論 くら 鉄道 バイオリン 楽団 山脈 谷 川 橋 城 市場 りんご 果樹園 秋
        ランタン 船乗り 羅針盤 島""",
        "",
        "。",
    ),
    "Korean": _language(
        """환자 의사 발열 기침 복용하세요 두 알 아침 저녁 식후에 드세요 따뜻한 물 휴식 무릎 어깨 통증 일주일 혈압
        검사 병원 간호사 수면 걷기 피하세요 커피 두통 위장 피부 발진 걱정하지 마세요 결과는 정상 다시 내일
        부탁드립니다 전화 입원 조언 심장 왼쪽 오른쪽""",
        """항구 폭풍 어부 그물 의회 예산 토론 창고 철도 바이올린 악단 산맥 계곡 강물 다리 성곽 시장 사과 과수원 가을
        등불 선원 나침반 섬""",
    ),
    "Thai": _language(
        """ผู้ป่วย แพทย์ ไข้ ไอ ควร รับประทาน สองเม็ด เช้า เย็น หลังอาหาร ดื่ม น้ำอุ่น พักผ่อน เข่า ไหล่ ปวด สัปดาห์
        ความดัน ตรวจ คลินิก พยาบาล นอนหลับ เดิน หลีกเลี่ยง กาแฟ ปวดหัว ท้อง ผิวหนัง ผื่น ไม่ต้อง กังวล ผลลัพธ์
        ปกติ อีกครั้ง พรุ่งนี้ กรุณา โทรศัพท์ โรงพยาบาล คำแนะนำ หัวใจ ซ้าย ขวา""",
        """ท่าเรือ พายุ ชาวประมง อวน รัฐสภา งบประมาณ อภิปราย ยุ้งฉาง รถไฟ ไวโอลิน วงดนตรี ภูเขา หุบเขา แม่น้ำ สะพาน
        ปราสาท ตลาด แอปเปิล สวนผลไม้ โคมไฟ กะลาสี เข็มทิศ เกาะ""",
        "",
        " ",
    ),
}
